package pg_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/pgha/pgha-agent/pg"
)

// A probe never fails: its State tells what is wrong.
func ExampleProber() {
	p, err := pg.NewProber("host=/nonexistent user=pgha dbname=postgres")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	h := p.Probe(context.Background())
	fmt.Println(h.State, h.State == pg.StateWritable)
	// Output: refused false
}

// What a client of the database sees of the service: each probe makes a new connection.
func ExampleClient() {
	c, err := pg.NewClient("postgres://pgha@localhost:1/postgres?sslmode=disable", nil)
	if err != nil {
		log.Fatal(err)
	}
	v := c.Probe(context.Background())
	fmt.Println(v.OK, v.State)
	// Output: false refused
}

func ExampleOutageTracker() {
	var o pg.OutageTracker
	begin := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	for second, ok := range []bool{true, false, false, true} {
		if outage := o.Observe(pg.ClientProbe{Answers: ok, End: begin.Add(time.Duration(second) * time.Second)}); outage != nil {
			fmt.Println(outage.Duration(), outage.Failures)
		}
	}
	// Output: 3s 2
}

func ExampleParseHBA() {
	// One row of what the server answers to HBASQL.
	rules, err := pg.ParseHBA([]byte(`[{"line": 97, "type": "host", "address": "10.0.0.0", "netmask": "255.255.0.0",
		"method": "trust", "error": ""}]`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rules[0].Line, rules[0].Address, rules[0].Method)
	// Output: 97 10.0.0.0 trust
}
