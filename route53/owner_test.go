package route53_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/pgha/pgha-agent/route53"
)

func TestOwnerRoundTrip(t *testing.T) {
	o := owner(41, "pg-primary.eu_1", addrA)
	raw := o.String()
	got, err := route53.ParseOwner(raw)
	if err != nil {
		t.Fatal(err)
	}
	o.Raw = raw
	if got != o {
		t.Errorf("%+v, want %+v", got, o)
	}
	if s := (route53.Owner{}).String(); s != "" {
		t.Error(s)
	}
}

func TestParseOwnerIsStrict(t *testing.T) {
	good := owner(41, "pg-a", addrA).String()
	if _, err := route53.ParseOwner(good); err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string {
		s := strings.Replace(good, old, new, 1)
		if s == good {
			t.Fatalf("%q is not in %s", old, good)
		}
		return s
	}
	for what, raw := range map[string]string{
		"empty": "", "one quote": `"`, "no quotes": strings.Trim(good, `"`), "two strings": good + " " + good,
		"escape": edit("pg-a", `pg\055a`), "version 2": edit("v=1", "v=2"), "foreign": `"heritage=external-dns"`,
		"two blanks": edit(" epoch", "  epoch"), "field more": edit("v=1", "v=1 x=y"), "other order": edit("owner=", "addr="),
		"epoch 0": edit("epoch=41", "epoch=0"), "epoch with zero": edit("epoch=41", "epoch=041"),
		"epoch with sign":          edit("epoch=41", "epoch=+41"),
		"epoch too large":          edit("epoch=41", "epoch=18446744073709551616"),
		"last epoch":               edit("epoch=41", "epoch=18446744073709551615"),
		"epoch too large to write": edit("epoch=41", "epoch=9223372036854775808"),
		"no node":                  edit("owner=pg-a", "owner="),
		"odd node":                 edit("pg-a", "pg;a"), "IPv6": edit(addrA.String(), "::1"),
		"mapped":            edit(addrA.String(), "::ffff:10.0.1.10"),
		"address with zero": edit(addrA.String(), "10.0.1.010"), "claim in capitals": good[:len(good)-37] +
			strings.ToUpper(good[len(good)-37:]),
		"claim with braces": edit("claim=", "claim={"), "too long": edit("pg-a", strings.Repeat("x", 250)),
		"newline": edit("pg-a", "pg-a\n"),
	} {
		if o, err := route53.ParseOwner(raw); err == nil || o != (route53.Owner{}) {
			t.Errorf("%s: %q gives %+v, %v", what, raw, o, err)
		}
	}
}

func TestClaimNamesOnePromotion(t *testing.T) {
	a := route53.Claim("boot", "pg-a", "12:1700000000")
	if a != route53.Claim("boot", "pg-a", "12:1700000000") {
		t.Error("not deterministic")
	}
	// The value is part of the protocol between versions: a change would make an agent forget its own claims.
	if want := "f0500739-fdfe-5acc-9571-6d7cb301283d"; a != want {
		t.Errorf("claim %s, want %s", a, want)
	}
	if id, err := uuid.Parse(a); err != nil || id.Version() != 5 || id.Variant() != uuid.RFC4122 {
		t.Errorf("%v, %v", id, err)
	}
	seen := map[string]bool{a: true}
	for _, p := range [][3]string{{"boo", "tpg-a", "12:1700000000"}, {"boot", "pg-b", "12:1700000000"},
		{"boot", "pg-a", "13:1700000000"}, {"boot2", "pg-a", "12:1700000000"}} {
		c := route53.Claim(p[0], p[1], p[2])
		if seen[c] {
			t.Errorf("%v repeats a claim", p)
		}
		seen[c] = true
	}
}

func FuzzParseOwner(f *testing.F) {
	f.Add(owner(41, "pg-a", addrA).String())
	f.Add(owner(1<<64-1, "x", netip.MustParseAddr("255.255.255.255")).String())
	f.Add(`"v=1 epoch=1 owner=a addr=1.2.3.4 claim=00000000-0000-0000-0000-000000000000"`)
	f.Add(`"v=1"`)
	f.Add(`""`)
	f.Add(`"v=1 epoch=1 owner=a addr=fe80::1%"x" claim="`)
	f.Fuzz(func(t *testing.T, raw string) {
		o, err := route53.ParseOwner(raw)
		if err != nil {
			if o != (route53.Owner{}) {
				t.Errorf("a value and an error: %+v, %v", o, err)
			}
			return
		}
		if o.String() != raw || o.Raw != raw {
			t.Errorf("%q becomes %q", raw, o.String())
		}
	})
}
