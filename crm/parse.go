// Package crm reads what Pacemaker says: the XML of crm_mon, and the environment of its alerts.
package crm

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
)

// Bounds on a document. A cluster of 32 nodes with 500 resources prints a fifth of MaxDocument. Recorded documents
// have at least 36 bytes per tag and 19 per attribute, so MaxDocument is the first bound that a real one reaches.
// Without the others a document of tiny elements costs a hundred times its size in memory, and whoever may write to
// the CIB can make one. The unit's MemoryMax has to hold the largest document beside crm_mon itself.
const (
	MaxDocument   = 2 << 20 // bytes
	MaxDepth      = 64      // nested elements; crm_mon prints about 6
	MaxTags       = 1 << 16 // start and end tags, counted as "<"; comments and the like are among them
	MaxAttributes = 1 << 17 // counted as "="; those in texts are among them
)

// ErrNoData says that a document is well formed and reports no error, but holds nothing about the cluster. Pacemaker
// 2.1.5 and later print such a document, with exit code 0, when the CIB cannot be read. It means unknown, not empty.
var ErrNoData = errors.New("crm_mon printed no cluster data")

// StatusError is the error that a document reports about itself in <status> (xml/api/status-*.rng; the codes are in
// include/crm/common/results.h).
// With Code 0 (there was no error, and no data either) it matches ErrNoData.
type StatusError struct {
	Code    int      // crm_mon's exit code: 102 not connected, 105 no such object, 4 insufficient privileges, 124 timeout
	Message string   // "Not connected"
	Errors  []string // texts of <errors>
}

// Error puts the code, its message and the texts on one line.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("crm_mon: %s (code %d)", e.Message, e.Code)
	if e.Code == 0 {
		text = ErrNoData.Error()
	}
	if len(e.Errors) > 0 {
		text += ": " + strings.Join(e.Errors, "; ")
	}
	return text
}

// Is makes errors.Is(err, ErrNoData) true for a document that says OK and has no data.
func (e *StatusError) Is(target error) bool { return target == ErrNoData && e.Code == 0 }

// Parse reads one document of crm_mon, from Pacemaker 1.1 to 3.x: <crm_mon> (--as-xml) or <pacemaker-result>
// (--output-as=xml). Attributes that are missing or not understood come out as unknown; a document that is cut, not
// XML, too large or too deep is an error, as are a *StatusError and ErrNoData.
func Parse(doc []byte) (*Status, error) {
	root, err := readRoot(doc)
	if err != nil {
		return nil, fmt.Errorf("parse crm_mon output: %w", err)
	}
	var said *StatusError
	switch root.Tag {
	case "crm_mon":
	case "pacemaker-result":
		if said, err = documentStatus(root); err != nil {
			return nil, fmt.Errorf("parse crm_mon output: %w", err)
		}
	default:
		return nil, fmt.Errorf("parse crm_mon output: root element is <%s>, want <crm_mon> or <pacemaker-result>",
			excerpt([]byte(root.Tag)))
	}
	if said != nil && said.Code != 0 {
		return nil, said
	}
	if gone := root.SelectElement("crm-mon-disconnected"); gone != nil {
		return nil, fmt.Errorf("%w: disconnected: %s (pacemakerd: %s)",
			ErrNoData, attr(gone, "description"), attr(gone, "pacemakerd-state"))
	}
	s := &Status{}
	if !s.read(root) {
		if said != nil {
			return nil, said
		}
		return nil, ErrNoData
	}
	if said != nil {
		s.Errors = said.Errors
	}
	return s, nil
}

// readRoot returns the only root element. etree takes several roots and text around them, which crm_mon never prints:
// there two processes wrote to one pipe.
func readRoot(doc []byte) (*etree.Element, error) {
	if len(doc) > MaxDocument {
		return nil, fmt.Errorf("document of %d bytes is larger than %d", len(doc), MaxDocument)
	}
	if n := bytes.Count(doc, []byte("<")); n > MaxTags {
		return nil, fmt.Errorf("document of %d tags, more than %d are not read", n, MaxTags)
	}
	if n := bytes.Count(doc, []byte("=")); n > MaxAttributes {
		return nil, fmt.Errorf("document of %d attributes, more than %d are not read", n, MaxAttributes)
	}
	tree := etree.NewDocument()
	tree.ReadSettings.MaxDepth = MaxDepth
	if err := tree.ReadFromBytes(doc); err != nil {
		return nil, fmt.Errorf("%w, in a document of %d bytes that begins %s", err, len(doc), excerpt(doc))
	}
	var root *etree.Element
	for _, token := range tree.Child {
		switch token := token.(type) {
		case *etree.Element:
			if root != nil {
				return nil, fmt.Errorf("a second root element <%s> follows <%s>",
					excerpt([]byte(token.Tag)), excerpt([]byte(root.Tag)))
			}
			root = token
		case *etree.CharData:
			if !token.IsWhitespace() {
				return nil, fmt.Errorf("text outside the root element, in a document that begins %s", excerpt(doc))
			}
		}
	}
	if root == nil {
		return nil, fmt.Errorf("no XML element, in a document of %d bytes that begins %s", len(doc), excerpt(doc))
	}
	return root, nil
}

// documentStatus reads <status>; nil when the document has none.
func documentStatus(root *etree.Element) (*StatusError, error) {
	status := root.SelectElement("status")
	if status == nil {
		return nil, nil //nolint:nilnil // Old documents have no status, and that is no error.
	}
	code, err := strconv.Atoi(attr(status, "code"))
	if err != nil {
		return nil, fmt.Errorf("status code %s is not a number", excerpt([]byte(attr(status, "code"))))
	}
	said := &StatusError{Code: code, Message: attr(status, "message")}
	if list := status.SelectElement("errors"); list != nil {
		for text := range list.ChildElementsSeq() {
			said.Errors = append(said.Errors, strings.TrimSpace(text.Text()))
		}
	}
	return said, nil
}

// excerpt quotes the first 80 bytes, so that a terminal or a log line survives them.
func excerpt(b []byte) string {
	const limit = 80
	if len(b) <= limit {
		return strconv.QuoteToASCII(string(b))
	}
	b = b[:limit]
	for range utf8.UTFMax - 1 { // do not show half a character as garbage
		if r, size := utf8.DecodeLastRune(b); r != utf8.RuneError || size != 1 {
			break
		}
		b = b[:len(b)-1]
	}
	return strconv.QuoteToASCII(string(b)) + "..."
}
