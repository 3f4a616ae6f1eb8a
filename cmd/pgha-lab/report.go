package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"slices"
	"strings"
)

// spread is what several runs measured of one thing.
type spread struct{ min, median, max float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(values))
	m := s[len(s)/2]
	if len(s)%2 == 0 {
		m = (s[len(s)/2-1] + m) / 2
	}
	return spread{s[0], m, s[len(s)-1]}
}

func (s spread) String() string { return fmt.Sprintf("%.1f (%.1f to %.1f)", s.median, s.min, s.max) }

func each(runs []benchRun, mode string, f func(benchRun) float64) spread {
	var v []float64
	for _, r := range runs {
		if r.Mode == mode {
			v = append(v, f(r))
		}
	}
	return spreadOf(v)
}

// phase is when a phase of the agent's episode was, since the power cut; 0 if it was not seen.
func (r benchRun) phase(name string) float64 {
	for _, p := range r.Phases {
		if p.Phase == name {
			return p.After
		}
	}
	return 0
}

var modeNames = map[string]string{
	modeShell:    "`aws-vpc-route53`, last in the group",
	modePromoted: "pgha-agent, `promoted`",
	modeWritable: "pgha-agent, `writable`",
	modeFound:    "pgha-agent, `promoted`, fence-peer handler as Debian has it",
	modeUpgraded: "pgha-agent, `promoted`, fence-peer handler of a newer drbd-utils",
}

// report writes the tables of docs/performance.md and its picture.
func report(w io.Writer, file, dnsFile, svg string) error {
	runs, err := readRuns(file)
	if err != nil {
		return err
	}
	var modes []string
	for _, m := range []string{modeShell, modeWritable, modePromoted, modeFound, modeUpgraded} {
		if countMode(runs, m) > 0 {
			modes = append(modes, m)
		}
	}
	if len(modes) == 0 {
		return fmt.Errorf("no runs in %s: `make lab-bench` makes them", file)
	}
	fmt.Fprint(w, "Seconds since the power cut: median (lowest to highest).\n\n"+
		"| | runs | DRBD promoted | PostgreSQL writable | change accepted | promotion to accepted | API calls | CPU of "+
		"the DNS part |\n|---|---|---|---|---|---|---|---|\n")
	for _, m := range modes {
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %.0f | %.1f s |\n", modeNames[m], countMode(runs, m),
			each(runs, m, func(r benchRun) float64 { return r.Promoted }),
			each(runs, m, func(r benchRun) float64 { return r.Writable }),
			each(runs, m, func(r benchRun) float64 { return r.Accepted }),
			each(runs, m, func(r benchRun) float64 { return r.Accepted - r.Promoted }),
			each(runs, m, func(r benchRun) float64 { return float64(r.Calls) }).median,
			each(runs, m, func(r benchRun) float64 { return r.CPU }).median)
	}
	for _, what := range []struct {
		title string
		of    func(benchView) float64
	}{
		{"The outage that clients saw, last commit to first commit", func(v benchView) float64 { return v.Outage }},
		{"The clients' resolver answers the new address", func(v benchView) float64 { return v.Observed }},
	} {
		fmt.Fprintf(w, "\n%s:\n\n| propagation, TTL |", what.title)
		for _, m := range modes {
			fmt.Fprintf(w, " %s |", modeNames[m])
		}
		fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---|", len(modes)))
		for i, v := range benchViews() {
			fmt.Fprintf(w, "| %s |", v)
			for _, m := range modes {
				fmt.Fprintf(w, " %s |", each(runs, m, func(r benchRun) float64 { return what.of(r.Views[i]) }))
			}
			fmt.Fprintln(w)
		}
	}
	phases := []string{"peer_lost", "fence_requested", "fenced", "promoted", "dns_accepted", "mounted", "writable"}
	fmt.Fprintf(w, "\nWhere the seconds go, by the agent's own episodes:\n\n| | %s |\n|---|%s\n",
		strings.Join(phases, " | "), strings.Repeat("---|", len(phases)))
	for _, m := range modes {
		if m == modeShell {
			continue
		}
		fmt.Fprintf(w, "| %s |", modeNames[m])
		for _, p := range phases {
			fmt.Fprintf(w, " %.1f |", each(runs, m, func(r benchRun) float64 { return r.phase(p) }).median)
		}
		fmt.Fprintln(w)
	}
	if err := reportDNS(w, dnsFile); err != nil {
		return err
	}
	return os.WriteFile(svg, picture(runs, modes), 0o644)
}

func reportDNS(w io.Writer, file string) error {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var runs []dnsRun
	if err := json.Unmarshal(b, &runs); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	fmt.Fprint(w, "\nThe shell agent's start on this machine, without emulation:\n\n"+
		"| propagation | start to accepted | start to its return | API calls | CPU |\n|---|---|---|---|---|\n")
	for _, delay := range []float64{0, 10, 30} {
		of := func(f func(dnsRun) float64) spread {
			var v []float64
			for _, r := range runs {
				if r.Delay == delay {
					v = append(v, f(r))
				}
			}
			return spreadOf(v)
		}
		fmt.Fprintf(w, "| %.0f s | %s s | %s s | %.0f | %.1f s |\n", delay, of(func(r dnsRun) float64 { return r.Accepted }),
			of(func(r dnsRun) float64 { return r.Returned }),
			of(func(r dnsRun) float64 { return float64(r.Calls) }).median, of(func(r dnsRun) float64 { return r.CPU }).median)
	}
	return nil
}

// picture draws one row for each mode: what the cluster did, when the record was changed, and when the clients came
// back.
func picture(runs []benchRun, modes []string) []byte {
	const width, left, rowHeight, top = 900, 20, 92, 70
	longest := 0.0
	for _, r := range runs {
		for _, v := range r.Views {
			longest = max(longest, v.Outage)
		}
	}
	// Round up to full ten seconds, with room for the last label.
	longest = float64(int(longest/10)+1) * 10
	x := func(t float64) float64 { return left + t/longest*(width-2*left) }
	height := top + rowHeight*len(modes) + 40
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+
		"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	fmt.Fprintf(&b,
		`<text x="%d" y="22" font-size="15" font-weight="bold" fill="#1c2733">A power cut of the promoted node, seconds since the cut (medians)</text>`+"\n", left)
	legend := []struct{ color, text string }{
		{colorLost, "noticed, fenced, promoted"}, {colorStart, "mounted, recovering"}, {colorUp, "writable"},
	}
	at := left
	for _, l := range legend {
		fmt.Fprintf(&b, `<rect x="%d" y="34" width="14" height="12" fill="%s"/><text x="%d" y="44" fill="#1c2733">%s</text>`+
			"\n", at, l.color, at+19, l.text)
		at += 40 + 7*len(l.text)
	}
	fmt.Fprintf(&b, `<path d="M%d 34 l6 12 h-12 z" fill="%s"/><text x="%d" y="44" fill="#1c2733">record changed</text>`+
		"\n", at+6, colorDNS, at+18)
	fmt.Fprintf(&b,
		`<circle cx="%d" cy="40" r="4.5" fill="%s"/><text x="%d" y="44" fill="#1c2733">clients write again, TTL 5 s</text>`+
			"\n", at+126, colorShort, at+136)
	fmt.Fprintf(&b, `<circle cx="%d" cy="40" r="4.5" fill="%s"/><text x="%d" y="44" fill="#1c2733">TTL 30 s</text>`+"\n",
		at+306, colorLong, at+316)
	step := 10.0
	if longest > 150 {
		step = 20
	}
	for t := 0.0; t <= longest; t += step {
		fmt.Fprintf(&b,
			`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#dfe5ec"/><text x="%.1f" y="%d" text-anchor="middle" fill="#5b6875">%.0f</text>`+"\n",
			x(t), top-8, x(t), height-30, x(t), height-14, t)
	}
	for i, m := range modes {
		y := float64(top + rowHeight*i)
		promoted := each(runs, m, func(r benchRun) float64 { return r.Promoted }).median
		writable := each(runs, m, func(r benchRun) float64 { return r.Writable }).median
		accepted := each(runs, m, func(r benchRun) float64 { return r.Accepted }).median
		bar := func(from, to float64, color string) {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="16" fill="%s"/>`+"\n", x(from), y+16, x(to)-x(from),
				color)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" fill="#1c2733" font-weight="bold">%s</text>`+"\n", left, y+10,
			html.EscapeString(strings.ReplaceAll(modeNames[m], "`", "")))
		bar(0, promoted, colorLost)
		bar(promoted, writable, colorStart)
		bar(writable, longest, colorUp)
		fmt.Fprintf(&b, `<path d="M%.1f %.1f l6 12 h-12 z" fill="%s"/>`+"\n", x(accepted), y+32, colorDNS)
		for j, v := range benchViews() {
			out := each(runs, m, func(r benchRun) float64 { return r.Views[j].Outage }).median
			color, line := colorShort, 54.0
			if v.TTL.Seconds() > 5 {
				color, line = colorLong, 68
			}
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4.5" fill="%s"><title>%s: %.1f s</title></circle>`+"\n", x(out),
				y+line, color, v, out)
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

const (
	colorLost  = "#c9485b"
	colorStart = "#e0a13a"
	colorUp    = "#bfe3c7"
	colorDNS   = "#1f4e8c"
	colorShort = "#1f4e8c"
	colorLong  = "#7a5aa6"
)
