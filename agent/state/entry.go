package state

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/text"
)

// Entry is an episode as it was saved. In the journal it is one line:
//
//	crc32 of the JSON (IEEE, eight hexadecimal digits), a space, the JSON, a newline
//
// and the JSON, here with the line breaks of a reader:
//
//	{"boot":"5d3c...","saved":"2026-03-01T10:00:00.5Z","uptime":81234500000000,"node":"pg-1","addr":"10.0.1.10",
//	 "client":{"at":81199000000000,"addr":"10.0.2.10"},
//	 "episode":{"id":7,"cause":"node_lost","outcome":"complete","start":81200000000000,
//	  "phases":{"peer_lost":81200000000000,"fenced":81209800000000,...},"late":["fenced"],"peer":"pg-2",
//	  "why":"DRBD: NetworkFailure",
//	  "promotion":"...","base_epoch":3,"attempted":true,"epoch":4,"gap":{"from":...,"to":...,"answered":"..."},
//	  "writes":1,"lost":{"name":"pg-2","fenced":true},"memory":{"fences":"8f0c...","unfenced":["pg-2"]}}}
//
// Times without a date are nanoseconds of CLOCK_BOOTTIME in the boot that the entry names. Fields that are zero are
// left out; a reader skips names that it does not know.
type Entry struct {
	Boot    string    // boot id of the kernel: what the times of the episode count from
	Saved   time.Time // wall clock when the entry was saved; read back in UTC
	Uptime  fsm.Time  // CLOCK_BOOTTIME at the same moment
	Node    string
	Addr    string
	Client  ClientSeen // so that an outage is measured over a restart of the agent
	Episode fsm.Episode
}

// ClientSeen is the last time that a client of the service name was served, and by whom. Zero when none was seen.
type ClientSeen struct {
	At   fsm.Time
	Addr string
}

// Wall converts a time of the episode to the wall clock, as that was set when the entry was saved. Zero stays zero.
func (e *Entry) Wall(t fsm.Time) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return e.Saved.Add(t - e.Uptime)
}

// The parts of a line.
const (
	crcDigits = 8
	entryMark = ` {"boot":` // stands in no JSON string, where quotes are escaped
	// maxEntryText bounds each text of an entry in bytes, and with that the line: no text may fill the journal.
	maxEntryText = 512
	maxEntryLine = 72 << 10 // seventeen texts, each byte of which may be escaped with six, and the fencings
)

// The JSON of an entry. fsm has no names for its fields in a file, on purpose: they are a matter of this package.
type (
	entryJSON struct {
		Boot    string      `json:"boot"`
		Saved   time.Time   `json:"saved"`
		Uptime  fsm.Time    `json:"uptime"`
		Node    string      `json:"node"`
		Addr    string      `json:"addr"`
		Client  clientJSON  `json:"client,omitzero"`
		Episode episodeJSON `json:"episode"`
	}
	clientJSON struct {
		At   fsm.Time `json:"at"`
		Addr string   `json:"addr,omitempty"`
	}
	episodeJSON struct {
		ID        uint64      `json:"id"`
		Cause     fsm.Cause   `json:"cause"`
		Outcome   fsm.Outcome `json:"outcome,omitempty"`
		Start     fsm.Time    `json:"start,omitempty"`
		Phases    phasesJSON  `json:"phases"`
		Late      lateJSON    `json:"late,omitempty"`
		Peer      string      `json:"peer,omitempty"`
		Why       string      `json:"why,omitempty"`
		Promotion string      `json:"promotion,omitempty"`
		BaseEpoch uint64      `json:"base_epoch,omitempty"`
		BaseClaim string      `json:"base_claim,omitempty"`
		Attempted bool        `json:"attempted,omitempty"`
		Epoch     uint64      `json:"epoch,omitempty"`
		Gap       gapJSON     `json:"gap,omitzero"`
		Writes    int         `json:"writes,omitempty"`
		Lost      lostJSON    `json:"lost,omitzero"`
		Races     int         `json:"races,omitempty"`
		Raced     bool        `json:"raced,omitempty"`
		RaceUntil fsm.Time    `json:"race_until,omitempty"`
		Memory    *memoryJSON `json:"memory,omitempty"` // none: of an agent that remembered nothing
	}
	gapJSON struct {
		From     fsm.Time `json:"from"`
		To       fsm.Time `json:"to"`
		Answered string   `json:"answered,omitempty"`
	}
	lostJSON struct {
		Name   string `json:"name"`
		Fenced bool   `json:"fenced,omitempty"`
	}
	memoryJSON struct {
		Fences string `json:"fences,omitempty"` // identities, each of sixteen hexadecimal digits
		// Of the fencings, one may be missing that was before the peer last came back.
		Partial     bool     `json:"partial,omitempty"`
		Unfenced    []string `json:"unfenced,omitempty"`
		Base        string   `json:"base,omitempty"`
		Record      string   `json:"record,omitempty"`
		Addr        string   `json:"addr,omitempty"`
		Epoch       uint64   `json:"epoch,omitempty"`
		Newest      uint64   `json:"newest,omitempty"`
		Contested   bool     `json:"contested,omitempty"`
		Disputed    string   `json:"disputed,omitempty"`
		Demoted     bool     `json:"demoted,omitempty"`
		Settled     fsm.Time `json:"settled,omitempty"`
		Lagging     fsm.Time `json:"lagging,omitempty"`
		Repaired    fsm.Time `json:"repaired,omitempty"`
		RepairEpoch uint64   `json:"repair_epoch,omitempty"`
		Fights      bool     `json:"fights,omitempty"`
	}
	phasesJSON [fsm.NumPhases]fsm.Time
	lateJSON   []string // names of phases
)

// MarshalJSON writes the phases that were seen, in their usual order.
func (p phasesJSON) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for phase, t := range p {
		if t != 0 {
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, "%q:%d", fsm.Phase(phase), int64(t))
		}
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads the phases; names of another version are skipped.
func (p *phasesJSON) UnmarshalJSON(b []byte) error {
	var byName map[string]fsm.Time
	if err := json.Unmarshal(b, &byName); err != nil {
		return err
	}
	for phase := range fsm.NumPhases {
		p[phase] = byName[phase.String()]
	}
	return nil
}

func lateOf(late [fsm.NumPhases]bool) (names lateJSON) {
	for p, is := range late {
		if is {
			names = append(names, fsm.Phase(p).String())
		}
	}
	return names
}

// phases reads the names; those of another version are skipped.
func (l lateJSON) phases() (late [fsm.NumPhases]bool) {
	for p := range fsm.NumPhases {
		late[p] = slices.Contains(l, p.String())
	}
	return late
}

// MarshalJSON writes the JSON of the journal, the names of which stay.
func (e Entry) MarshalJSON() ([]byte, error) {
	ep := e.Episode
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(entryJSON{e.Boot, e.Saved.UTC(), e.Uptime, e.Node, e.Addr, clientJSON(e.Client), episodeJSON{
		ID: ep.ID, Cause: ep.Cause, Outcome: ep.Outcome, Start: ep.Start, Phases: ep.Stamps, Late: lateOf(ep.Late),
		Peer: ep.Peer, Why: ep.Why,
		Promotion: ep.Promotion, BaseEpoch: ep.BaseEpoch, BaseClaim: ep.BaseClaim, Attempted: ep.Attempted, Epoch: ep.Epoch,
		Gap:    gapJSON(ep.Outage),
		Writes: ep.Writes, Lost: lostJSON(ep.Lost), Races: ep.Races, Raced: ep.RacesExhausted, RaceUntil: ep.RaceUntil,
		Memory: memoryOf(ep.Memory),
	}})
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), err
}

// UnmarshalJSON reads what MarshalJSON wrote. Causes and outcomes must be known, since they are labels of metrics.
func (e *Entry) UnmarshalJSON(doc []byte) error {
	var w entryJSON
	if err := json.Unmarshal(doc, &w); err != nil {
		return err
	}
	ep := w.Episode
	switch {
	case ep.ID == 0:
		return errors.New("no episode")
	case !slices.Contains(fsm.Causes, ep.Cause):
		return fmt.Errorf("unknown cause %q", ep.Cause)
	case ep.Outcome != "" && !slices.Contains(fsm.Outcomes, ep.Outcome):
		return fmt.Errorf("unknown outcome %q", ep.Outcome)
	}
	memory, err := ep.Memory.memory()
	if err != nil {
		return err
	}
	*e = Entry{w.Boot, w.Saved.UTC(), w.Uptime, w.Node, w.Addr, ClientSeen(w.Client), fsm.Episode{
		ID: ep.ID, Cause: ep.Cause, Outcome: ep.Outcome, Start: ep.Start, Stamps: ep.Phases, Late: ep.Late.phases(),
		Peer: ep.Peer, Why: ep.Why,
		Promotion: ep.Promotion, BaseEpoch: ep.BaseEpoch, BaseClaim: ep.BaseClaim, Attempted: ep.Attempted, Epoch: ep.Epoch,
		Outage: fsm.Outage(ep.Gap),
		Writes: ep.Writes, Lost: fsm.LostPeer(ep.Lost), Races: ep.Races, RacesExhausted: ep.Raced, RaceUntil: ep.RaceUntil,
		Memory: memory,
	}}
	return nil
}

func memoryOf(m fsm.Memory) *memoryJSON {
	if !m.Kept {
		return nil
	}
	w := &memoryJSON{
		Fences: hex.EncodeToString([]byte(m.Fences)), Partial: m.Partial, Base: m.Base, Record: m.Record, Addr: m.Addr,
		Epoch: m.Epoch, Newest: m.Newest, Contested: m.Contested,
		Disputed: m.Disputed, Demoted: m.Demoted, Settled: m.ResolversStaleUntil, Lagging: m.APIStaleUntil,
		Repaired: m.Repaired, RepairEpoch: m.RepairEpoch, Fights: m.RepairGivenUp,
	}
	for _, name := range m.Unfenced {
		if name != "" {
			w.Unfenced = append(w.Unfenced, name)
		}
	}
	return w
}

func (w *memoryJSON) memory() (fsm.Memory, error) {
	if w == nil {
		return fsm.Memory{}, nil
	}
	m := fsm.Memory{
		Kept: true, Partial: w.Partial, Base: w.Base, Record: w.Record, Addr: w.Addr, Epoch: w.Epoch, Newest: w.Newest,
		Contested: w.Contested,
		Disputed:  w.Disputed, Demoted: w.Demoted, ResolversStaleUntil: w.Settled, APIStaleUntil: w.Lagging,
		Repaired: w.Repaired, RepairEpoch: w.RepairEpoch, RepairGivenUp: w.Fights,
	}
	fences, err := hex.DecodeString(w.Fences)
	if err != nil || !fsm.Fences(fences).Valid() {
		return m, errors.New("fences are no list of identities")
	}
	m.Fences = fsm.Fences(fences)
	if copy(m.Unfenced[:], w.Unfenced) != len(w.Unfenced) {
		return m, errors.New("more unfenced peers than are kept apart")
	}
	return m, nil
}

// formatEntry returns the line of an entry, its texts shortened to maxEntryText. Only what parseEntry takes is written.
func formatEntry(e Entry) ([]byte, error) {
	ep := &e.Episode
	for _, t := range []*string{&e.Boot, &e.Node, &e.Addr, &e.Client.Addr, &ep.Peer, &ep.Why, &ep.Promotion, &ep.BaseClaim,
		&ep.Outage.Answered, &ep.Lost.Name,
		&ep.Memory.Unfenced[0], &ep.Memory.Unfenced[1], &ep.Memory.Unfenced[2], &ep.Memory.Record, &ep.Memory.Addr,
		&ep.Memory.Base, &ep.Memory.Disputed} {
		*t = text.Bound(*t, maxEntryText)
	}
	doc, err := e.MarshalJSON()
	if err == nil {
		err = new(Entry).UnmarshalJSON(doc)
	}
	if err != nil {
		return nil, fmt.Errorf("format journal entry: %w", err)
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(doc), doc), nil
}

// parseEntry reads a line without its newline.
func parseEntry(line []byte) (Entry, error) {
	if len(line) <= crcDigits || line[crcDigits] != ' ' {
		return Entry{}, errors.New("parse journal entry: no checksum")
	}
	doc := line[crcDigits+1:]
	if fmt.Sprintf("%08x", crc32.ChecksumIEEE(doc)) != string(line[:crcDigits]) {
		return Entry{}, errors.New("parse journal entry: wrong checksum")
	}
	var e Entry
	if err := e.UnmarshalJSON(doc); err != nil {
		return Entry{}, fmt.Errorf("parse journal entry: %w", err)
	}
	return e, nil
}
