package main

import (
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/appload"
)

// newClient makes the application that writes through the service name. It resolves the name for each new connection,
// as an application without a cache does, and calls wrote after each commit.
func newClient(name string, port int, dns string, wrote func(kib uint64)) (*appload.Writer, error) {
	return appload.New(appload.Config{Host: name, Port: uint16(port), Resolver: dns, Name: "demo", Log: onWrite(wrote)})
}

// onWrite is called for each line of the application's log, which is one commit.
type onWrite func(kib uint64)

func (f onWrite) Write(line []byte) (int, error) {
	f(8)
	return len(line), nil
}

// longest is the longest time without an acknowledged commit; zero when there was none to speak of.
func longest(outages []appload.Outage, now time.Time) (from, to time.Time) {
	for _, o := range outages {
		if o.Length(now) > to.Sub(from) {
			from, to = o.From, o.From.Add(o.Length(now))
		}
	}
	return from, to
}
