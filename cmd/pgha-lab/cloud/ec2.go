// Package cloud is what of AWS the lab's machines see beside Route 53: the EC2 API that switches their power, and their
// instance metadata.
package cloud

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Machine is an instance whose power the API switches. Its methods are called from several goroutines.
type Machine interface {
	InstanceID() string
	Name() string     // tag Name
	Addr() netip.Addr // private address
	Running() bool    // has power; must not block
	PowerOff() error  // at once, like pulling the plug
	PowerOn() error
}

// Fault is what is wrong with the power API.
type Fault int

// The faults.
const (
	None        Fault = iota
	Unavailable       // every request is answered 503 ServiceUnavailable
	Hang              // no request is answered; it ends when the client leaves or at Close
	Denied            // UnauthorizedOperation for what switches power; DescribeInstances works, as with half an IAM policy
	Lie               // StopInstances is accepted, "stopping" and "stopped" reported, and the power stays on
)

// PowerCall is one request of the API as it was answered.
type PowerCall struct {
	At        time.Time
	From      string // the client's address without its port
	Action    string
	Instances []string // as asked for, by id or by the instance-id filter
	Force     bool
	Code      string // error code, "Hang" when nothing was answered, or ""
}

// EC2 answers the EC2 Query API (version 2016-11-15) for a few instances. Unlike the real one it asks for no signature:
// a fence agent without an SDK shall be able to call it. A stop without Force cuts the power just the same; the guest's
// own shutdown is not modeled.
type EC2 struct {
	done   chan struct{}
	closed sync.Once
	work   sync.WaitGroup

	mu       sync.Mutex
	fault    Fault
	stopTime time.Duration
	serial   int
	calls    []PowerCall
	order    []*instance
}

// instance is a machine and what the API is doing to it.
type instance struct {
	Machine
	power   sync.Mutex // held while the power is switched: a stop must not be undone by a reboot that came before it
	turn    int        // counts the jobs: only the latest may end job
	job     job
	lieDone time.Time // of a lied stop: "stopping" until then, "stopped" from then on; zero means no lie
}

// job is the power change under way, the latest if there are several.
type job int

const (
	idle job = iota
	stopping
	starting
	rebooting
	stuck // the power could not be cut: "stopping", and another StopInstances tries again
)

// NewEC2 makes the API of these machines.
func NewEC2(machines ...Machine) *EC2 {
	e := &EC2{done: make(chan struct{})}
	for _, m := range machines {
		e.order = append(e.order, &instance{Machine: m})
	}
	return e
}

// Calls lists the requests so far, those that only ask included.
func (e *EC2) Calls() []PowerCall {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

// SetFault changes what is wrong from the next request on. With Lie, the lies end too.
func (e *EC2) SetFault(f Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = f
	for _, m := range e.order {
		m.lieDone = time.Time{}
	}
}

// SetStopTime is how long an instance is "stopping" before its power is cut.
func (e *EC2) SetStopTime(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopTime = d
}

// Close ends hanging requests and stops that have not cut the power yet, and waits for those that are at it.
func (e *EC2) Close() {
	e.closed.Do(func() { close(e.done) })
	e.work.Wait()
}

// state is an instance state with its code.
type state struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

// The states of EC2 that can occur here.
var (
	statePending  = state{0, "pending"}
	stateRunning  = state{16, "running"}
	stateStopping = state{64, "stopping"}
	stateStopped  = state{80, "stopped"}
)

// state is called with the lock held.
func (m *instance) state(now time.Time) state {
	switch {
	case !m.lieDone.IsZero() && now.Before(m.lieDone), m.job == stopping:
		return stateStopping
	case !m.lieDone.IsZero():
		return stateStopped
	case m.job == starting:
		return statePending
	case m.job == rebooting:
		return stateRunning
	case !m.Running():
		return stateStopped
	case m.job == stuck:
		return stateStopping
	}
	return stateRunning
}

// stop is called with the lock held.
func (e *EC2) stop(m *instance, now time.Time) {
	switch at := m.state(now); {
	case at == stateStopped, m.job == stopping, !m.lieDone.IsZero():
	case e.fault == Lie:
		m.lieDone = now.Add(max(e.stopTime, time.Nanosecond))
	default:
		e.begin(m, stopping, e.stopTime, m.PowerOff)
	}
}

// start is called with the lock held.
func (e *EC2) start(m *instance, now time.Time) {
	m.lieDone = time.Time{}
	if m.state(now) == stateStopped {
		e.begin(m, starting, 0, m.PowerOn)
	}
}

// reboot is called with the lock held.
func (e *EC2) reboot(m *instance, _ time.Time) {
	if m.job != rebooting {
		e.begin(m, rebooting, 0, func() error {
			if err := m.PowerOff(); err != nil {
				return err
			}
			return m.PowerOn()
		})
	}
}

// begin does a power change in the background, as the API answers before it is done.
func (e *EC2) begin(m *instance, j job, after time.Duration, do func() error) {
	m.job = j
	m.turn++
	turn := m.turn
	e.work.Go(func() {
		t := time.NewTimer(after)
		defer t.Stop()
		var err error
		select {
		case <-t.C:
			m.power.Lock()
			err = do()
			m.power.Unlock()
		case <-e.done:
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if m.turn != turn {
			return
		}
		m.job = idle
		if err != nil && j == stopping {
			m.job = stuck
		}
	})
}

// hold keeps a request without an answer.
func (e *EC2) hold(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-e.done:
	}
}

func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
