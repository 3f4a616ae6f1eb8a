package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorded finds files of a failover that was recorded on a real cluster.
func recorded(t *testing.T, pattern string) []string {
	t.Helper()
	root := os.Getenv("PGHA_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	files, err := filepath.Glob(filepath.Join(root, "lab9", "scenarios", "failover-kill9-primary", pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the model's output was not compared with recordings of a real cluster: PGHA_CORPUS does not lead to them")
	}
	return files
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// shapes collects which element stands in which, with which attributes, in their order.
func shapes(t *testing.T, doc string, into map[string]bool) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(doc))
	var path []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		switch e := token.(type) {
		case xml.StartElement:
			path = append(path, e.Name.Local)
			shape := strings.Join(path, "/")
			for _, a := range e.Attr {
				shape += " " + a.Name.Local
			}
			into[shape] = true
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
}

// keys turns a line of events2 into its shape: verb, object and keys without their values, and without the time.
func keys(line string) string {
	words := strings.Fields(line)
	if len(words) > 0 && strings.Contains(words[0], "T") && strings.Contains(words[0], ":") {
		words = words[1:]
	}
	for i, w := range words {
		words[i], _, _ = strings.Cut(w, ":")
	}
	return strings.Join(words, " ")
}

// story runs a power cut and the return, and calls look every 50 ms of it.
func story(t *testing.T, look func(c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(testNames, testAddrs, defaultFigures)
		ctx, done := context.WithCancel(context.Background())
		go func() {
			defer done()
			c.wrote(0, 5000)
			if err := c.powerCut(ctx, 0); err != nil {
				t.Error(err)
			}
			c.wrote(1, 9000)
			if err := c.comeBack(ctx, 0, func() error { return nil }, func(float64) {}); err != nil {
				t.Error(err)
			}
		}()
		for ctx.Err() == nil {
			look(c)
			time.Sleep(50 * time.Millisecond)
		}
		look(c)
	})
}

func TestCrmMonHasTheShapesOfRealDocuments(t *testing.T) {
	real := map[string]bool{}
	for _, name := range recorded(t, "node*/mon/*.xml") {
		shapes(t, readFile(t, name), real)
	}
	model := map[string]bool{}
	story(t, func(c *cluster) {
		for i := range c.nodes {
			doc, _ := c.crmMon(i, "crm_mon --output-as=xml")
			shapes(t, doc, model)
		}
	})
	for shape := range model {
		if !real[shape] {
			t.Errorf("no real document has %s", shape)
		}
	}
	if len(model) < 30 {
		t.Errorf("only %d shapes were seen", len(model))
	}
}

func TestEvents2HasTheLinesOfRealStreams(t *testing.T) {
	for _, c := range []struct {
		files   string
		options eventsOptions
	}{
		{"node*/drbd/events2.*.log", eventsOptions{timestamps: true, statistics: true}},
		{"node*/drbd/events2-full-poll.*.log", eventsOptions{timestamps: true, statistics: true, full: true, poll: true}},
	} {
		t.Run(c.files, func(t *testing.T) {
			real := map[string]bool{}
			for _, name := range recorded(t, c.files) {
				for line := range strings.Lines(readFile(t, name)) {
					real[keys(line)] = true
				}
			}
			seen := 0
			var streams [2]*stream
			story(t, func(m *cluster) {
				for i, st := range streams {
					m.mu.Lock()
					down := !m.drbd[i].up // then the real stream has ended with its node
					m.mu.Unlock()
					if st == nil || down {
						streams[i] = m.subscribe(i, c.options)
						continue
					}
					if c.options.poll {
						m.poll(st)
					}
					for len(st.lines) > 0 {
						line := <-st.lines
						seen++
						if !real[keys(line)] && !strings.HasPrefix(keys(line), "destroy") {
							t.Errorf("node %d: no recorded stream has a line like %s", i, line)
							real[keys(line)] = true
						}
					}
				}
			})
			if seen < 50 {
				t.Errorf("only %d lines were seen", seen)
			}
		})
	}
}
