// Package web is what the daemon serves over HTTP: metrics, health checks, status, history and the page on a port, and
// the operator's verbs on the control socket. No client holds anything up, and nothing blocks on a source.
package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "github.com/prometheus/exporter-toolkit/web"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
)

const keyErr = "err"

// Options are what the handlers answer from.
type Options struct {
	Snapshot func() *status.Snapshot
	Now      func() fsm.Time // CLOCK_BOOTTIME
	Metrics  prometheus.Gatherer
	StateDir string
	Pause    func(ctx context.Context, length time.Duration) error // of Control
	Recheck  func(ctx context.Context)                             // of Control; returns when the sources have answered
	Log      *slog.Logger
}

// ServePublic serves h on a port until ctx ends, with the TLS and authentication of a file in the format of Prometheus
// exporters, "" for none. It calls ready once that file is valid, and closes the listener.
func ServePublic(ctx context.Context, log *slog.Logger, tcp net.Listener, file string, h http.Handler,
	ready func()) error {
	defer tcp.Close() // closed already, when it was served
	if err := exporter.Validate(file); err != nil {
		return err
	}
	ready()
	return serve(ctx, log, h, func(s *http.Server) error {
		return exporter.Serve(limitConns(tcp), s, &exporter.FlagConfig{WebConfigFile: &file}, log)
	})
}

// ServeControl serves h on the control socket until ctx ends.
func ServeControl(ctx context.Context, log *slog.Logger, l net.Listener, h http.Handler) error {
	return serve(ctx, log, h, func(s *http.Server) error {
		s.ConnContext = withClient
		return s.Serve(limitConns(l))
	})
}

// Public answers what Prometheus, load balancers and people read. Nothing here changes anything, and nothing blocks on
// a source.
func Public(o Options) *http.ServeMux {
	mux := http.NewServeMux()
	large := make(slots, atOnce)
	mux.Handle("GET /metrics", large.bounded(promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{
		// Costs more than it saves on the way from one node to Prometheus.
		ErrorHandling: promhttp.ContinueOnError, DisableCompression: true,
	})))
	mux.HandleFunc("GET /{$}", servePage)
	mux.Handle("GET /history", newHistory(o.StateDir))
	mux.Handle("GET /status", large.bounded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, explain.Of(o.Snapshot()))
	})))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		late := o.Now() - o.Snapshot().At
		step := fmt.Sprintf("alive: last step %.1fs ago", late.Seconds())
		answer(w, late < 2*fsm.StallBound, step, "not "+step)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		d := explain.Of(o.Snapshot())
		code := http.StatusOK
		if !d.Ready {
			code = http.StatusServiceUnavailable
		}
		writeJSON(w, code, map[string]any{"ready": d.Ready, "why": d.Unready})
	})
	// As with Patroni: 200 from the wanted node, 503 from the other. HAProxy's httpchk needs no more.
	for _, method := range []string{"GET ", "OPTIONS "} { // HAProxy asks with OPTIONS unless told otherwise
		mux.HandleFunc(method+"/primary", func(w http.ResponseWriter, _ *http.Request) {
			s := o.Snapshot()
			answer(w, s.IsWriter(o.Now()) && s.State.Postgres.Writable, "primary", "not primary")
		})
		mux.HandleFunc(method+"/replica", func(w http.ResponseWriter, _ *http.Request) {
			s := o.Snapshot()
			possible := explain.Of(s).Judgment.Failover.Possible
			answer(w, s.IsStandby(o.Now()) && (possible == nil || *possible),
				"standby: this node could take over", "this node is not a standby that could take over")
		})
	}
	return mux
}

// Control adds the operator's verbs. Only root, the agent's user and group haclient can open its socket.
func Control(o Options) *http.ServeMux {
	mux := Public(o)
	mux.HandleFunc("POST /pause", func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Seconds *float64 `json:"seconds"` // a request without it must not end a pause
		}
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&req)
		if err != nil || req.Seconds == nil || *req.Seconds < 0 || *req.Seconds > state.MaxPause.Seconds() {
			http.Error(w, fmt.Sprintf("seconds must be between 0 and %.0f", state.MaxPause.Seconds()), http.StatusBadRequest)
			return
		}
		left := time.Duration(*req.Seconds * float64(time.Second))
		if err := o.Pause(r.Context(), left); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		o.Log.Info("paused by operator", "for", left, "by", r.Context().Value(clientKey{}))
		writeJSON(w, http.StatusOK, map[string]any{"paused_for_seconds": left.Seconds()})
	})
	mux.HandleFunc("POST /recheck", func(w http.ResponseWriter, r *http.Request) {
		o.Recheck(r.Context())
		writeJSON(w, http.StatusOK, explain.Of(o.Snapshot()))
	})
	return mux
}

// serve runs a server that no client can hold up, until ctx ends. A connection carries one request at a time: the many
// streams of HTTP/2 would make the limit of connections none.
func serve(ctx context.Context, log *slog.Logger, h http.Handler, run func(*http.Server) error) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:     stdlog.New(httpLog{log}, "", 0),
	}
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(end) != nil {
			_ = s.Close()
		}
	})
	defer stop()
	if err := run(s); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// httpLog takes what net/http has to say: a line for each client that breaks off a TLS handshake, of which a
// client can cause as many as it likes, and the panics of handlers.
type httpLog struct{ log *slog.Logger }

// Write implements io.Writer.
func (l httpLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(line, []byte("panic serving")) {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "http server", keyErr, string(bytes.TrimSpace(line)))
	return len(line), nil
}

// withClient lets a handler of the control socket say who asked.
func withClient(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientKey{}, c.(*limitedConn).client)
}

type clientKey struct{}

// answer sends 200 and yes, or 503 and no.
func answer(w http.ResponseWriter, ok bool, yes, no string) {
	text := yes
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = no
	}
	_, _ = fmt.Fprintln(w, text)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	setNoStore(w)
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // an error means that the client is gone
}
