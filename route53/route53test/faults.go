package route53test

import (
	"net/http"
	"time"
)

// FaultKind is what goes wrong with a request.
type FaultKind int

// The kinds of fault.
const (
	Throttle    FaultKind = iota // 400 Throttling "Rate exceeded"; not applied
	Prior                        // 400 PriorRequestNotComplete; not applied
	Refuse                       // an error document with Status, Code and Body as its message; not applied
	Raw                          // Status and Body as they are, with no error document around them; not applied
	LoseReply                    // applied, then the connection is cut
	DropRequest                  // the connection is cut, not applied
	Late                         // no reply; applied after Delay, whether or not the client still waits
	Hang                         // no reply, never applied
)

// Fault changes the fate of the next requests.
type Fault struct {
	Kind   FaultKind
	Op     string        // the API's name of the operation; "" means any
	Caller string        // the access key id of the requests; "" means any
	Count  int           // how many requests; 0 means 1, negative means until ClearFaults
	Delay  time.Duration // of Late
	Status int           // of Refuse and Raw
	Code   string        // of Refuse
	Body   string        // of Refuse and Raw
}

// Inject queues faults: each request takes the first one that fits.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Count == 0 {
			f.Count = 1
		}
		s.faults = append(s.faults, &f)
	}
}

// ClearFaults ends all faults and latencies.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	clear(s.latency)
}

// SetLatency delays each request of an operation, or of all for "".
func (s *Server) SetLatency(op string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency[op] = d
}

// takeFault is called with the lock held.
func (s *Server) takeFault(op, caller string) *Fault {
	for i, f := range s.faults {
		if f.Op != "" && f.Op != op || f.Caller != "" && f.Caller != caller {
			continue
		}
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			}
		}
		return f
	}
	return nil
}

// serve answers a request, or fails it as told.
func (s *Server) serve(w http.ResponseWriter, req *request, f *Fault) {
	if f == nil {
		send(w, s.process(req), req.call.RequestID)
		return
	}
	switch f.Kind {
	case Throttle:
		s.fail(w, req, throttled())
	case Prior:
		s.fail(w, req, prior())
	case Refuse:
		s.fail(w, req, refuse(f.Status, f.Code, "%s", f.Body))
	case Raw:
		req.call.Status, req.call.Code = f.Status, "garbage"
		s.log(req.call)
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
	case LoseReply:
		s.process(req)
		cut(w)
	case DropRequest:
		s.log(req.call)
		cut(w)
	case Late:
		s.late.Go(func() {
			t := time.NewTimer(f.Delay)
			defer t.Stop()
			select {
			case <-t.C:
				s.process(req)
			case <-s.done:
			}
		})
		s.wait(req.http)
	case Hang:
		s.log(req.call)
		s.wait(req.http)
	}
}

func (s *Server) fail(w http.ResponseWriter, req *request, e *apiError) {
	req.call.Status, req.call.Code = e.status, e.code
	s.log(req.call)
	send(w, answer{e.status, s.document(e, req.call.RequestID)}, req.call.RequestID)
}

// wait holds the connection until the client leaves.
func (s *Server) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.done:
	}
}

// cut closes the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's own way to the same end
	}
	_ = conn.Close()
}
