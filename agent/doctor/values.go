package doctor

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var timeForm = regexp.MustCompile(`^(\d+)\s*(ms|msec|us|usec|s|sec|m|min|h|hr)?$`)

// pacemakerTime reads Pacemaker's times: a number of seconds, or one with a unit (lib/common/strings.c,
// pcmk__parse_ms).
func pacemakerTime(text string) (time.Duration, bool) {
	m := timeForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0, false
	}
	unit := map[string]time.Duration{
		"ms": time.Millisecond, "msec": time.Millisecond, "us": time.Microsecond, "usec": time.Microsecond, "m": time.Minute,
		"min": time.Minute,
		"h":   time.Hour, "hr": time.Hour,
	}[m[2]]
	unit = cmp.Or(unit, time.Second)
	return min(time.Duration(n), math.MaxInt64/unit) * unit, true
}

// isNo knows Pacemaker's words for false (lib/common/strings.c, pcmk__parse_bool).
func isNo(v string) bool {
	return slices.Contains([]string{"false", "no", "off", "0", "n"}, strings.ToLower(v))
}

// older compares as many numbers of a version as are given.
func older(version string, than ...int) bool {
	parts := strings.Split(version, ".")
	for i, n := range than {
		have := 0
		if i < len(parts) {
			have, _ = strconv.Atoi(parts[i])
		}
		if have != n {
			return have < n
		}
	}
	return false
}
