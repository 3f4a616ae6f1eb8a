package fleet

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"
)

// Line is one kind of agent with what it came to.
type Line struct {
	Name string
	*Outcome
}

// Table writes the lines as a table in Markdown.
func Table(w io.Writer, acc Account, end time.Duration, lines []Line) {
	fmt.Fprintln(w, "| | 50 % right | 99 % | 100 % | requests made | of them refused | served: list, change, poll |\n"+
		"|---|---|---|---|---|---|---|")
	for _, l := range lines {
		fmt.Fprintf(w, "| %s ", l.Name)
		for _, part := range []float64{.5, .99, 1} {
			if d, ok := l.After(part, acc.Clusters); ok {
				fmt.Fprintf(w, "| %s ", human(d))
			} else {
				fmt.Fprintf(w, "| not within %s (%.1f %% are) ", human(end), 100*float64(len(l.Right))/float64(acc.Clusters))
			}
		}
		fmt.Fprintf(w, "| %d | %.1f %% | %d, %d, %d |\n", l.Requests, 100*float64(l.Refused)/float64(max(l.Requests, 1)),
			l.Lists, l.Sets, l.Polls)
	}
}

func human(d time.Duration) string {
	if d < 10*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	if d < 2*time.Hour {
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

// SVG draws how many records are right over time, on a logarithmic scale of time. Colors are legible on white and on
// black.
func SVG(w io.Writer, acc Account, end time.Duration, lines []Line) {
	const width, height, left, right, top, bottom = 760, 340, 60, 20, 30, 50
	first := time.Minute
	x := func(d time.Duration) float64 {
		at := math.Log(float64(max(d, first))/float64(first)) / math.Log(float64(end)/float64(first))
		return left + at*(width-left-right)
	}
	y := func(part float64) float64 { return height - bottom - part*(height-top-bottom) }
	fmt.Fprintf(w,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#808080">`+
			"\n", width, height)
	fmt.Fprintf(w, "<title>Records that name the promoted node, after %d clusters of one account failed over at "+
		"once</title>\n", acc.Clusters)
	for _, part := range []float64{0, .25, .5, .75, 1} {
		fmt.Fprintf(w,
			`<path d="M%d %.1fH%d" stroke="#808080" stroke-opacity=".35"/><text x="%d" y="%.1f" text-anchor="end">%.0f %%</text>`+"\n", left, y(part), width-right, left-6, y(part)+4, part*100)
	}
	for _, d := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour,
		2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 96 * time.Hour} {
		if d <= end {
			fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(d), height-bottom+18, tick(d))
		}
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="middle">time since the zone went down (logarithmic)</text>`+"\n",
		(left+width-right)/2, height-12)
	for i, l := range lines {
		color := []string{"#2f81f7", "#e5534b", "#c69026"}[i%3]
		var path strings.Builder
		fmt.Fprintf(&path, "M%.1f %.1f", x(first), y(0))
		step := max(1, len(l.Right)/400)
		for k := 0; k < len(l.Right); k += step {
			fmt.Fprintf(&path, "L%.1f %.1f", x(l.Right[k]), y(float64(k+1)/float64(acc.Clusters)))
		}
		if n := len(l.Right); n > 0 {
			fmt.Fprintf(&path, "L%.1f %.1f", x(l.Right[n-1]), y(float64(n)/float64(acc.Clusters)))
			fmt.Fprintf(&path, "H%d", width-right)
		}
		fmt.Fprintf(w,
			`<path d="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%d" fill="%s" font-weight="bold">%s</text>`+
				"\n", path.String(), color, left+12, top+16*(i+1), color, html.EscapeString(l.Name))
	}
	fmt.Fprintln(w, "</svg>")
}

func tick(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}
