package drbd

import "bytes"

// lines cuts a byte stream into lines, however it is chunked.
type lines struct {
	torn []byte // the beginning of a line whose end has not come
	drop bool   // the line so far is too long: throw away up to its end
}

// feed calls line for every complete line in p, without the newline, and long once for every line above MaxLine.
// The line is only valid during the call.
func (l *lines) feed(p []byte, line func([]byte), long func()) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part, p = p[:end], p[end+1:]
		} else {
			p = nil
		}
		switch {
		case l.drop:
		case len(l.torn)+len(part) > MaxLine:
			l.drop, l.torn = true, l.torn[:0]
			long()
		case end >= 0 && len(l.torn) == 0:
			line(part)
		default:
			l.torn = append(l.torn, part...)
			if end >= 0 {
				line(l.torn)
			}
		}
		if end >= 0 {
			l.drop, l.torn = false, l.torn[:0]
		}
	}
}

// end forgets the unfinished line and reports whether there was one that has not been counted as too long.
func (l *lines) end() bool {
	torn := len(l.torn) > 0
	l.drop, l.torn = false, l.torn[:0]
	return torn
}
