package route53

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// OwnerPrefix is the label under which the ownership record of a service name lives.
const OwnerPrefix = "_pgha"

// maxCharacterString is the longest string inside a TXT value (RFC 1035, section 3.3).
const maxCharacterString = 255

// String returns the TXT value that states the ownership, quotes included. It is made from the fields, not from Raw:
// use Raw to repeat what was read. The zero Owner gives "".
func (o Owner) String() string {
	if o.IsZero() {
		return ""
	}
	return fmt.Sprintf(`"v=1 epoch=%d owner=%s addr=%s claim=%s"`, o.Epoch, o.Node, o.Addr, o.Claim)
}

// IsZero reports whether there is no ownership record.
func (o Owner) IsZero() bool { return o == Owner{} }

// ParseOwner reads the TXT value that String writes. It is strict: one quoted string, these five fields in this order,
// each in its canonical form. What differs in any way was not written by this program, and must not be deleted by it.
// TTL is left zero, since it is not part of the value.
func ParseOwner(raw string) (Owner, error) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return Owner{}, errors.New("parse owner: the value is not one quoted string")
	}
	text := raw[1 : len(raw)-1]
	if len(text) > maxCharacterString {
		return Owner{}, fmt.Errorf("parse owner: %d characters, at most %d fit", len(text), maxCharacterString)
	}
	keys := [...]string{"v", "epoch", "owner", "addr", "claim"}
	fields := strings.Split(text, " ")
	if len(fields) == 0 || fields[0] != "v=1" {
		return Owner{}, errors.New(`parse owner: the value does not begin with "v=1"`)
	}
	if len(fields) != len(keys) {
		return Owner{}, fmt.Errorf("parse owner: %d fields, want %d", len(fields), len(keys))
	}
	var val [len(keys)]string
	for i, key := range keys {
		v, ok := strings.CutPrefix(fields[i], key+"=")
		if !ok || v == "" {
			return Owner{}, fmt.Errorf("parse owner: field %d is not %s=VALUE", i+1, key)
		}
		val[i] = v
	}

	o := Owner{Node: val[2], Claim: val[4], Raw: raw}
	var err error
	if o.Epoch, err = strconv.ParseUint(val[1], 10, 64); err != nil {
		return Owner{}, errors.New("parse owner: epoch is not a number")
	}
	if o.Addr, err = netip.ParseAddr(val[3]); err != nil {
		return Owner{}, errors.New("parse owner: addr is not an address")
	}
	if err := o.check(); err != nil {
		return Owner{}, fmt.Errorf("parse owner: %w", err)
	}
	if o.String() != raw {
		return Owner{}, errors.New("parse owner: a field is not in its canonical form")
	}
	return o, nil
}

// maxEpoch is far from what promotions come to. What Read refuses is never written either.
const maxEpoch = 1<<63 - 1

// check holds for each Owner that may stand in the zone.
func (o Owner) check() error {
	if o.Epoch == 0 {
		return errors.New("epoch is 0, the first one is 1")
	}
	if o.Epoch > maxEpoch {
		return errors.New("epoch is not below 2^63")
	}
	if !validNode(o.Node) {
		return errors.New("owner is not a node name")
	}
	if !o.Addr.Is4() {
		return errors.New("addr is not an IPv4 address")
	}
	if id, err := uuid.Parse(o.Claim); err != nil || id.String() != o.Claim {
		return errors.New("claim is not a uuid")
	}
	if n := len(o.String()) - 2; n > maxCharacterString {
		return fmt.Errorf("%d characters, at most %d fit", n, maxCharacterString)
	}
	return nil
}

// validNode accepts the names that Pacemaker nodes have in practice, and nothing that TXT quoting would touch.
func validNode(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return s != ""
}

// claimSpace is the namespace of the claims: the version 5 UUID of the project's import path in the URL namespace.
var claimSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/pgha/pgha-agent/claim"))

// Claim names one promotion: the same boot id, node and promotion give the same uuid (version 5, RFC 9562), so an agent
// that was restarted recognizes what it claimed before. Each part is length-prefixed: moving a character from one part
// to the next gives another name.
func Claim(bootID, node, promotion string) string {
	var b strings.Builder
	for _, part := range []string{bootID, node, promotion} {
		fmt.Fprintf(&b, "%d:%s,", len(part), part)
	}
	return uuid.NewSHA1(claimSpace, []byte(b.String())).String()
}
