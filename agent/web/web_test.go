package web

import (
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestNothingIsReadyWithABadCertificate: what is not served must not be called served.
func TestNothingIsReadyWithABadCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	text := "tls_server_config:\n  cert_file: /nope\n  key_file: /nope\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := func() { t.Error("ready") }
	if err := ServePublic(t.Context(), slog.New(slog.DiscardHandler), l, file, http.NotFoundHandler(), ready); err == nil {
		t.Error("served")
	}
}
