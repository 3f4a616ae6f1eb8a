package agent

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

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"github.com/pgha/pgha-agent/agent/alertsock"
	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
)

// open opens the sockets that are not open yet, but for those that before, an agent that still runs, has in use.
func (a *Agent) open(before *Agent) (err error) {
	inUse := func(path string) bool {
		return before != nil && (path == before.cfg.State.AlertSocket || path == before.cfg.State.ControlSocket)
	}
	switch alerts := a.cfg.State.AlertSocket; {
	case a.alertsAt != nil:
	case a.opts.Alerts != nil:
		a.alertsAt, err = again(a.opts.Alerts)
	case !inUse(alerts):
		a.alertsAt, err = alertsock.ListenUnix(alerts, 0o660)
	}
	if err != nil {
		return fmt.Errorf("listen for alerts: %w", err)
	}
	if control := a.cfg.State.ControlSocket; a.controlAt == nil && !inUse(control) {
		if a.controlAt, err = alertsock.ListenUnix(control, 0o660); err != nil {
			return fmt.Errorf("listen for control: %w", err)
		}
	}
	return nil
}

// listen serves the sockets until ctx ends.
func (a *Agent) listen(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error {
		return alertsock.ServeAlerts(ctx, a.alertsAt, alertsock.AlertServer{Deliver: a.alerted, AllowUID: mayAlert(), Logger: a.log, Counters: &a.alerts})
	})
	group.Go(func() error {
		return serve(ctx, a.log, a.controlMux(), func(s *http.Server) error {
			s.ConnContext = withClient
			return s.Serve(limitConns(a.controlAt))
		})
	})
	if a.cfg.HTTP.Listen != config.Off {
		group.Go(func() error { a.servePublic(ctx); return nil })
	}
}

// servePublic serves metrics and health checks. A port that is taken or a bad certificate costs those, never the record: it is
// shown as a problem and tried again.
func (a *Agent) servePublic(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.servePublicOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		a.log.Error("metrics and health checks are not served, trying again", keyErr, err)
		a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) { s.HTTPErr = err.Error() }})
		wait.For(ctx, 5*time.Second)
	}
}

func (a *Agent) servePublicOnce(ctx context.Context) error {
	tcp, err := net.Listen("tcp", a.cfg.HTTP.Listen)
	if err != nil {
		return err
	}
	defer tcp.Close() // closed already, when it was served
	if err := web.Validate(a.cfg.HTTP.WebConfig); err != nil {
		return err
	}
	a.log.Info("listening", keyListen, tcp.Addr().String())
	a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) { s.HTTPErr = "" }})
	return serve(ctx, a.log, a.publicMux(), func(s *http.Server) error {
		return web.Serve(limitConns(tcp), s, &web.FlagConfig{WebConfigFile: &a.cfg.HTTP.WebConfig}, a.log)
	})
}

// serve runs a server that no client can hold up, until ctx ends. A connection carries one request at a time: the many streams of HTTP/2
// would make the limit of connections none.
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

// httpLog takes what net/http has to say: a line for each client that breaks off a TLS handshake, which anybody can have as many of as he
// likes, and the panics of handlers.
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

// publicMux serves what Prometheus, load balancers and people read. Nothing here changes anything, and nothing blocks on a source.
func (a *Agent) publicMux() *http.ServeMux {
	mux := http.NewServeMux()
	large := make(slots, httpAtOnce)
	mux.Handle("GET /metrics", large.bounded(promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, DisableCompression: true, // costs more than it saves on the way from one node to Prometheus
	})))
	mux.HandleFunc("GET /{$}", servePage)
	mux.Handle("GET /history", newHistory(a.cfg.State.Dir))
	mux.Handle("GET /status", large.bounded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, a.Snapshot().Doc())
	})))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		late := a.clock.Boot() - a.Snapshot().At
		answer(w, late < 2*fsm.StallBound, fmt.Sprintf("alive: last step %.1fs ago", late.Seconds()))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		why := a.Snapshot().Unready()
		code := http.StatusOK
		if len(why) > 0 {
			code = http.StatusServiceUnavailable
		}
		writeJSON(w, code, map[string]any{"ready": len(why) == 0, "why": append([]string{}, why...)})
	})
	// As with Patroni: 200 from the node that one wants to be sent to, 503 from the other. HAProxy's httpchk needs no more.
	for _, method := range []string{"GET ", "OPTIONS "} { // HAProxy asks with OPTIONS unless told otherwise
		mux.HandleFunc(method+"/primary", func(w http.ResponseWriter, _ *http.Request) {
			s := a.Snapshot()
			answer(w, s.IsWriter(a.clock.Boot()) && s.State.Postgres.Writable, "primary")
		})
		mux.HandleFunc(method+"/replica", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, a.Snapshot().IsStandby(a.clock.Boot()), "replica: ready to take over")
		})
	}
	return mux
}

// controlMux adds the operator's verbs. Only root, the agent's user and group haclient can open its socket.
func (a *Agent) controlMux() *http.ServeMux {
	mux := a.publicMux()
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
		if err := a.pause(r.Context(), left); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		a.log.Info("paused by operator", "for", left, "by", r.Context().Value(clientKey{}))
		writeJSON(w, http.StatusOK, map[string]any{"paused_for_seconds": left.Seconds()})
	})
	return mux
}

// withClient lets a handler of the control socket say who asked.
func withClient(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientKey{}, c.(*limitedConn).client)
}

type clientKey struct{}

func answer(w http.ResponseWriter, ok bool, text string) {
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = "not " + text
	}
	_, _ = fmt.Fprintln(w, text)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	live(w)
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client has gone: nobody to tell
}
