// Package agent is the daemon: it wires the sources (package drbd, crm, pg, route53) to the core (package fsm), carries
// out what the core asks for, and shows the state over HTTP, systemd and the log.
//
// One goroutine, the loop, owns the core's state. Everything else hands it events, or reads the immutable Snapshot that
// it publishes after each step.
package agent
