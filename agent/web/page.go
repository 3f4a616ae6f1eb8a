package web

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
)

// page is all of the status page; what it shows it fetches from /status and /history.
//
//go:embed page.html
var pageSource string

// page has the words of the phases where its source has a place for them.
var page = strings.Replace(pageSource, "{/* made from agent/status */}", phases(), 1)

// phases makes the page's table of phases: the color and the words of each.
func phases() string {
	table := map[string][2]string{}
	for _, p := range status.Phases {
		table[p.Is.String()] = [2]string{p.Tone, p.Text}
	}
	text, err := json.Marshal(table)
	if err != nil {
		panic(err) // strings alone
	}
	return string(text)
}

// pagePolicy lets the browser run the page's own script and style, and ask this server; nothing else, whatever a name
// in the cluster's configuration may say.
var pagePolicy = fmt.Sprintf(
	"default-src 'none'; script-src %s; style-src %s; connect-src 'self'; base-uri 'none'; form-action 'none'; "+
		"frame-ancestors 'none'",
	inlineHash("script"), inlineHash("style"))

// inlineHash returns the source expression of the page's one element of a kind (CSP level 2: the digest of its text).
func inlineHash(tag string) string {
	_, text, _ := strings.Cut(page, "<"+tag+">")
	text, _, _ = strings.Cut(text, "</"+tag+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	setNoStore(w)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(page))
}

// setNoStore marks an answer that is true now only: no cache may keep it, and no browser may take it for another type.
func setNoStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}
