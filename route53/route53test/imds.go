package route53test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// IMDSMode is how the metadata service behaves.
type IMDSMode int

// The modes.
const (
	IMDSv2Only   IMDSMode = iota // a token is asked for: version 1 is disabled, as it should be
	IMDSv1Too                    // answers without a token as well
	IMDSHang                     // accepts and never answers, as behind a hop limit of 1
	IMDSNotFound                 // 404 for all metadata; tokens work
	IMDSDisabled                 // 403 for all, as when the service is switched off for the instance
)

// IMDS is a fake instance metadata service. The exported fields are set before it serves.
type IMDS struct {
	LocalIPv4  string
	InstanceID string
	Zone       string // availability zone
	VPC        string // id of the network; "" means that no interface is listed
	Role       string // name of the instance profile's role; "" means none
	AccessKey  string
	SecretKey  string
	Session    string
	Expires    time.Time // of the credentials

	mu     sync.Mutex
	mode   IMDSMode
	serial int
	tokens map[string]time.Time
	reads  int
	done   chan struct{}
}

// SetMode changes the behavior.
func (m *IMDS) SetMode(mode IMDSMode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mode = mode
}

// Requests is the number of requests so far, tokens included.
func (m *IMDS) Requests() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

func (m *IMDS) state() (IMDSMode, chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done == nil {
		m.done = make(chan struct{})
	}
	m.reads++
	return m.mode, m.done
}

// Close ends hanging requests.
func (m *IMDS) Close() {
	_, done := m.state()
	select {
	case <-done:
	default:
		close(done)
	}
}

// ServeHTTP answers PUT /latest/api/token, and GET below /latest with the token.
func (m *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mode, done := m.state()
	switch {
	case mode == IMDSHang:
		select {
		case <-r.Context().Done():
		case <-done:
		}
	case mode == IMDSDisabled:
		http.Error(w, "Forbidden", http.StatusForbidden)
	case r.URL.Path == "/latest/api/token":
		m.token(w, r)
	case r.Method != http.MethodGet:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case mode != IMDSv1Too && !m.valid(r.Header.Get("X-Aws-Ec2-Metadata-Token")):
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	default:
		text, ok := m.lookup(r.URL.Path)
		if !ok || mode == IMDSNotFound {
			http.Error(w, "Not Found", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprint(w, text)
	}
}

func (m *IMDS) token(w http.ResponseWriter, r *http.Request) {
	ttl, err := strconv.Atoi(r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
	switch {
	case r.Method != http.MethodPut:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	case err != nil || ttl < 1 || ttl > 21600:
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	case r.Header.Get("X-Forwarded-For") != "":
		// Refused by the real service: a token must not be fetched through a proxy.
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens == nil {
		m.tokens = map[string]time.Time{}
	}
	m.serial++
	token := fmt.Sprintf("TOKEN%051d", m.serial)
	m.tokens[token] = time.Now().Add(time.Duration(ttl) * time.Second)
	w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", strconv.Itoa(ttl))
	_, _ = fmt.Fprint(w, token)
}

func (m *IMDS) valid(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	end, ok := m.tokens[token]
	return ok && time.Now().Before(end)
}

const imdsMAC = "02:00:00:00:00:01"

func (m *IMDS) lookup(path string) (string, bool) {
	item, ok := strings.CutPrefix(path, "/latest/meta-data/")
	if !ok {
		return "", false
	}
	region := strings.TrimRight(m.Zone, "abcdef")
	var text string
	switch item {
	case "local-ipv4":
		text = m.LocalIPv4
	case "instance-id":
		text = m.InstanceID
	case "mac":
		if m.VPC != "" {
			text = imdsMAC
		}
	case "network/interfaces/macs/" + imdsMAC + "/vpc-id":
		text = m.VPC
	case "placement/availability-zone":
		text = m.Zone
	case "placement/region":
		text = region
	case "iam/security-credentials/":
		text = m.Role
	case "iam/security-credentials/" + m.Role:
		if m.Role == "" {
			return "", false
		}
		b, err := json.Marshal(map[string]string{
			"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time.Now().UTC().Format(time.RFC3339),
			"AccessKeyId": m.AccessKey, "SecretAccessKey": m.SecretKey, "Token": m.Session,
			"Expiration": m.Expires.UTC().Format(time.RFC3339),
		})
		return string(b), err == nil
	}
	return text, text != ""
}
