package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// side is the DRBD resource as one node sees it. Counters are in KiB, as drbdsetup prints them.
type side struct {
	up         bool // the resource is configured
	role       string
	disk       string
	backing    string
	conn       string
	peerRole   string
	repl       string
	peerDisk   string
	path       bool
	noMetadata bool // between the creation of the device and its attachment

	size, read, written     uint64
	received, sent, oos     uint64
	alWrites, bmWrites      uint64
	pending, unacked        uint64
	resyncTotal, resyncLeft uint64    // of a running resync
	resyncStart             time.Time // zero: none runs
}

type field struct {
	key, val string
	stat     bool   // printed with --statistics only, and not multicast when it alone changes
	once     bool   // printed in a dump, and in a change only when it changed
	full     bool   // printed with --full only
	group    string // without --full, a change prints all fields of a group of which one changed
}

// always is the group that every change prints.
const always = "always"

func grouped(group string, fields ...field) []field {
	for i := range fields {
		fields[i].group = group
	}
	return fields
}

// object is one line of events2: a kind, the keys that name it, and the rest.
type object struct {
	kind, id string
	fields   []field
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// score follows DRBD's promotion score for one volume and two replicas, as the lab's recordings print it.
func (s *side) score() int {
	connected := s.conn == "Connected"
	replicas := 0
	if connected && s.peerDisk == "UpToDate" {
		replicas++
	}
	switch {
	case s.disk == "UpToDate":
		return 10000 + 100 + replicas + 1
	case s.disk == "Inconsistent" && replicas > 0:
		return 10000 + replicas
	default:
		return replicas
	}
}

func (s *side) mayPromote() bool {
	return s.disk == "UpToDate" && s.role != "Primary" && s.peerRole != "Primary"
}

// objects lists what events2 shows of the resource, in its order.
func (c *cluster) objects(i int) []object {
	s, n, p := c.drbd[i], c.nodes[i], c.nodes[1-i]
	if !s.up {
		return nil
	}
	u := func(v uint64) string { return strconv.FormatUint(v, 10) }
	peer := fmt.Sprintf("name:%s peer-node-id:%d conn-name:%s", drbdName, p.id-1, p.name)
	ordering := "flush"
	if s.noMetadata {
		ordering = "none"
	}
	pd := []field{
		{key: "replication", val: s.repl}, {key: "peer-disk", val: s.peerDisk, group: "disk"},
		{key: "peer-client", val: "no", group: "disk"},
		{key: "resync-suspended", val: "no"},
	}
	running := !s.resyncStart.IsZero()
	if running && s.resyncTotal > 0 {
		pd = append(pd, field{key: "done", val: fmt.Sprintf("%.2f", s.done()), stat: true})
	}
	pd = append(pd, grouped(always,
		field{key: "received", val: u(s.received), stat: true}, field{key: "sent", val: u(s.sent), stat: true},
		field{key: "out-of-sync", val: u(s.oos), stat: true},
		field{key: "pending", val: u(s.pending), stat: true}, field{key: "unacked", val: u(s.unacked), stat: true})...)
	if running && s.resyncTotal > 0 {
		pd = append(pd, s.rates()...)
	}
	return []object{
		{"resource", "name:" + drbdName, []field{
			{key: "role", val: s.role}, {key: "suspended", val: "no"}, {key: "force-io-failures", val: "no"},
			{key: "write-ordering", val: ordering, stat: true},
			{key: "may_promote", val: yes(s.mayPromote()), group: "score"},
			{key: "promotion_score", val: strconv.Itoa(s.score()), group: "score"},
		}},
		{"connection", peer, []field{
			{key: "connection", val: s.conn}, {key: "role", val: s.peerRole},
			{key: "congested", val: "no", stat: true}, {key: "ap-in-flight", val: "0", stat: true},
			{key: "rs-in-flight", val: "0", stat: true},
		}},
		{"device", "name:" + drbdName + " volume:0 minor:0", append(append(
			grouped("disk", field{key: "backing_dev", val: s.backing}, field{key: "disk", val: s.disk},
				field{key: "client", val: "no"}, field{key: "quorum", val: "yes"}),
			grouped("stats", field{key: "size", val: u(s.size), stat: true}, field{key: "read", val: u(s.read), stat: true},
				field{key: "written", val: u(s.written), stat: true},
				field{key: "al-writes", val: u(s.alWrites), stat: true}, field{key: "bm-writes", val: u(s.bmWrites), stat: true},
				field{key: "upper-pending", val: "0", stat: true}, field{key: "lower-pending", val: "0", stat: true})...),
			field{key: "al-suspended", val: "no", stat: true}, field{key: "blocked", val: "no", stat: true, once: true})},
		{"peer-device", peer + " volume:0", pd},
		{"path", fmt.Sprintf("%s local:ipv4:%s:7789 peer:ipv4:%s:7789", peer, n.addr, p.addr),
			[]field{{key: "established", val: yes(s.path)}}},
	}
}

func (s *side) done() float64 {
	return 100 * float64(s.resyncTotal-s.resyncLeft) / float64(s.resyncTotal)
}

// rates prints what --statistics adds during a resync: sectors and milliseconds since its start, MiB/s, and seconds to
// go.
func (s *side) rates() []field {
	took := time.Since(s.resyncStart)
	synced := s.resyncTotal - s.resyncLeft
	rate, eta := 0.0, "nan"
	if took > 0 && synced > 0 {
		rate = float64(synced) / 1024 / took.Seconds()
		eta = strconv.Itoa(int(float64(s.resyncLeft) / 1024 / rate))
	}
	ms, sectors, mib := strconv.FormatInt(took.Milliseconds(), 10), strconv.FormatUint(2*synced, 10),
		fmt.Sprintf("%.2f", rate)
	list := []field{{key: "rs-total", val: strconv.FormatUint(2*s.resyncTotal, 10)}, {key: "rs-dt-start-ms", val: ms},
		{key: "rs-paused-ms", val: "0"},
		{key: "rs-dt0-ms", val: ms}, {key: "rs-db0-sectors", val: sectors}, {key: "rs-dt1-ms", val: ms},
		{key: "rs-db1-sectors", val: sectors},
		{key: "rs-failed", val: "0"}, {key: "rs-same-csum", val: "0"},
		{key: "dbdt", val: mib}, {key: "dbdt0", val: mib}, {key: "dbdt1", val: mib}, {key: "eta", val: eta}}
	for i := range list {
		list[i].stat, list[i].group = true, always
		list[i].full = list[i].key != "dbdt1" && list[i].key != "eta"
	}
	return list
}

// eventsOptions are the options of `drbdsetup events2`.
type eventsOptions struct{ timestamps, statistics, full, poll, now bool }

func parseEvents2(args []string) (o eventsOptions, bad string) {
	for _, a := range args {
		switch a {
		case "--timestamps":
			o.timestamps = true
		case "--statistics":
			o.statistics = true
		case "--full":
			o.full = true
		case "--poll":
			o.poll = true
		case "--now":
			o.now = true
		case "--color=never", "--", drbdName, "all":
		default:
			return o, a
		}
	}
	return o, ""
}

// stream is one running `drbdsetup events2`.
type stream struct {
	eventsOptions
	node  int
	shown map[string]object // as last printed, by kind and id
	lines chan string
	dead  bool // its reader did not keep up
}

func (st *stream) print(text string) {
	if st.dead {
		return
	}
	if st.timestamps {
		text = time.Now().Format("2006-01-02T15:04:05.000000-07:00") + " " + text
	}
	select {
	case st.lines <- text + "\n":
	default:
		st.dead = true
		close(st.lines)
	}
}

// update prints what changed since the last time. Counters alone make a line only when withStats is set: the kernel
// does not multicast them, `n` on standard input asks for them.
func (st *stream) update(objects []object, fresh string, withStats bool) {
	now := make(map[string]bool, len(objects))
	for _, o := range objects {
		key := o.kind + " " + o.id
		now[key] = true
		old, known := st.shown[key]
		if !known {
			st.shown[key] = o
			st.print(fresh + " " + key + st.text(o, nil))
			continue
		}
		if changed(old, o, withStats) {
			st.shown[key] = o
			st.print("change " + key + st.text(o, &old))
		}
	}
	for _, kind := range []string{"path", "peer-device", "connection", "device", "resource"} {
		for key, o := range st.shown {
			if o.kind == kind && !now[key] {
				delete(st.shown, key)
				st.print("destroy " + key)
			}
		}
	}
}

func (o object) value(key string) (string, bool) {
	for _, f := range o.fields {
		if f.key == key {
			return f.val, true
		}
	}
	return "", false
}

func changed(old, o object, withStats bool) bool {
	for _, f := range o.fields {
		if v, ok := old.value(f.key); (v != f.val || !ok) && (withStats || !f.stat) {
			return true
		}
	}
	return withStats && len(old.fields) != len(o.fields)
}

func (st *stream) text(o object, old *object) string {
	news := func(f field) bool {
		v, ok := old.value(f.key)
		return !ok || v != f.val
	}
	groups := map[string]bool{always: true}
	if old != nil {
		for _, f := range o.fields {
			groups[f.group] = groups[f.group] || f.group != "" && news(f)
		}
	}
	var b strings.Builder
	for _, f := range o.fields {
		switch {
		case f.stat && !st.statistics && f.key != "done", f.full && !st.full, f.key == "write-ordering" && old != nil &&
			!st.full:
			continue
		case old == nil, news(f), st.full && !f.once, groups[f.group]:
			b.WriteString(" " + f.key + ":" + f.val)
		}
	}
	return b.String()
}

// change changes one side under the lock and multicasts what changed.
func (c *cluster) change(i int, f func(s *side)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.drbd[i])
	c.multicast(i, false)
}

func (c *cluster) multicast(i int, withStats bool) {
	o := c.objects(i)
	for st := range c.streams {
		if st.node == i {
			st.update(o, "create", withStats)
		}
	}
}

// helper runs one of the kernel's calls into user space, which takes some time. Status is the raw wait status.
func (c *cluster) helper(ctx context.Context, i int, name string, took time.Duration, status int) error {
	id := fmt.Sprintf("helper name:%s peer-node-id:%d conn-name:%s", drbdName, c.nodes[1-i].id-1, c.nodes[1-i].name)
	if strings.Contains(name, "resync") {
		id += " volume:0 minor:0"
	}
	say := func(text string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for st := range c.streams {
			if st.node == i {
				st.print(text)
			}
		}
	}
	say("call " + id + " helper:" + name)
	if err := wait.For(ctx, took); err != nil {
		return err
	}
	say(fmt.Sprintf("response %s helper:%s status:%d", id, name, status))
	return nil
}

// subscribe opens a stream; its first lines are the dump.
func (c *cluster) subscribe(i int, o eventsOptions) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := &stream{eventsOptions: o, node: i, shown: map[string]object{}, lines: make(chan string, 4096)}
	st.update(c.objects(i), "exists", true)
	st.print("exists -")
	c.streams[st] = struct{}{}
	return st
}

func (c *cluster) unsubscribe(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, st)
}

// poll answers `n` on a stream's standard input.
func (c *cluster) poll(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st.update(c.objects(st.node), "create", true)
}

// drbdStatus is the text of `drbdsetup status`.
func (c *cluster) drbdStatus(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.drbd[i]
	if !s.up {
		return "# No currently configured DRBD found.\n"
	}
	text := fmt.Sprintf("%s role:%s\n  disk:%s open:%s\n  %s ", drbdName, s.role, s.disk, yes(s.role == "Primary"),
		c.nodes[1-i].name)
	if s.conn != "Connected" {
		return text + "connection:" + s.conn + "\n"
	}
	text += "role:" + s.peerRole + "\n    "
	if s.repl != "Established" {
		text += "replication:" + s.repl + " "
	}
	text += "peer-disk:" + s.peerDisk
	if !s.resyncStart.IsZero() && s.resyncTotal > 0 {
		text += fmt.Sprintf(" done:%.2f", s.done())
	}
	return text + "\n"
}
