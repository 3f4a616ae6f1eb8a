package route53test

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// key identifies a record set.
type key struct{ name, typ, id string }

func keyOf(s RecordSet) key { return key{s.Name, s.Type, s.SetIdentifier} }

// zone is the content of a hosted zone: a value that is copied, never shared.
type zone map[key]RecordSet

// apiError is a refusal with its code. Messages is set for a refused batch.
type apiError struct {
	status   int
	code     string
	message  string
	messages []string
}

func refuse(status int, code, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func invalidInput(format string, args ...any) *apiError {
	return refuse(400, "InvalidInput", format, args...)
}

func invalidBatch(messages ...string) *apiError {
	return &apiError{
		status: 400, code: "InvalidChangeBatch", message: "[" + strings.Join(messages, ", ") + "]", messages: messages,
	}
}

// canonicalName gives a name as Route 53 stores it: lower case, trailing dot, and all but a-z, 0-9, hyphen, underscore
// and dot as octal escapes (Developer Guide, "DNS domain name format").
func canonicalName(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		case c == '\\' && i+3 < len(s) && isOctal(s[i+1:i+4]):
			b.WriteString(s[i : i+4])
			i += 3
		default:
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	return b.String() + "."
}

func isOctal(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '7' })
}

// order is the sort key of a name: its labels reversed, trailing dot kept ("com.example.www."), compared as ASCII. The
// dot matters: "db-2" sorts before "db", since '-' sorts before '.'.
func order(name string) string {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(order(a.name), order(b.name)), cmp.Compare(a.typ, b.typ), cmp.Compare(a.id, b.id))
}

func (z zone) sorted() []RecordSet {
	sets := make([]RecordSet, 0, len(z))
	for _, s := range z {
		sets = append(sets, s)
	}
	slices.SortFunc(sets, func(a, b RecordSet) int { return compareKeys(keyOf(a), keyOf(b)) })
	return sets
}

func (z zone) clone() zone {
	out := make(zone, len(z))
	maps.Copy(out, z)
	return out
}

// Zone is a hosted zone without the server around it: the same rules for a model that has its own time and network.
type Zone struct {
	name string
	sets zone
}

// NewZone makes a zone with its SOA and NS records.
func NewZone(name string) *Zone {
	name = canonicalName(name)
	return &Zone{name: name, sets: apex(name)}
}

// Change does a batch, all of it or nothing, and says in the API's words why not.
func (z *Zone) Change(changes []Change) (messages []string) {
	next, err := z.sets.apply(z.name, changes)
	if err != nil {
		return append(err.messages, err.message)
	}
	z.sets = next
	return nil
}

// Get returns the simple record set of that name and type.
func (z *Zone) Get(name, typ string) (RecordSet, bool) {
	set, ok := z.sets[key{canonicalName(name), typ, ""}]
	return set, ok
}

func apex(name string) zone {
	soa := Simple(name, "SOA", 900, "ns-0.awsdns-00.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400")
	ns := Simple(name, "NS", 172800, "ns-0.awsdns-00.com.")
	return zone{keyOf(soa): soa, keyOf(ns): ns}
}

const (
	maxRecords    = 1000  // ResourceRecord elements of a batch; UPSERT counts twice
	maxCharacters = 32000 // characters of all values; UPSERT counts twice
	maxTTL        = 1<<31 - 1
)

// apply returns the zone after the batch, or why nothing of it is done.
func (z zone) apply(zoneName string, changes []Change) (zone, *apiError) {
	if len(changes) == 0 {
		return nil, invalidInput("Invalid XML ; cvc-complex-type.2.4.b: The content of element 'Changes' is not complete.")
	}
	for i := range changes {
		changes[i].Set.Name = canonicalName(changes[i].Set.Name)
		if err := checkInput(i+1, changes[i]); err != nil {
			return nil, err
		}
	}
	if err := checkLimits(changes); err != nil {
		return nil, err
	}

	var messages []string
	messages = append(messages, checkRepeats(changes)...)
	for _, c := range changes {
		messages = append(messages, checkContent(zoneName, c)...)
	}
	if len(messages) > 0 {
		return nil, invalidBatch(messages...)
	}
	out := z.clone()
	for _, c := range changes {
		if m := out.step(zoneName, c); m != "" {
			messages = append(messages, m)
		}
	}
	messages = append(messages, out.checkApex(zoneName)...)
	if len(messages) > 0 {
		return nil, invalidBatch(messages...)
	}
	return out, nil
}

// checkInput refuses what is wrong in form, before the zone is looked at.
func checkInput(n int, c Change) *apiError {
	s := c.Set
	at := fmt.Sprintf("changeBatch.changes.%d.member", n)
	switch c.Action {
	case "CREATE", "DELETE", "UPSERT":
	default:
		return invalidInput("1 validation error detected: Value '%s' at '%s.action' failed to satisfy constraint: Member "+
			"must satisfy enum value set: [CREATE, DELETE, UPSERT]", c.Action, at)
	}
	known := []string{"A", "AAAA", "CAA", "CNAME", "MX", "NAPTR", "NS", "PTR", "SOA", "SPF", "SRV", "TXT"}
	if !slices.Contains(known, s.Type) {
		return invalidInput("1 validation error detected: Value '%s' at '%s.resourceRecordSet.type' failed to satisfy "+
			"constraint: Member must satisfy enum value set", s.Type, at)
	}
	if s.TTL != nil && (*s.TTL < 0 || *s.TTL > maxTTL) {
		return invalidInput("1 validation error detected: Value '%d' at '%s.resourceRecordSet.tTL' failed to satisfy "+
			"constraint: Member must have value between 0 and %d", *s.TTL, at, maxTTL)
	}
	id := "null"
	if s.SetIdentifier != "" {
		id = s.SetIdentifier
	}
	what := fmt.Sprintf("Change with [Action=%s, Name=%s, Type=%s, SetIdentifier=%s]", c.Action, s.Name, s.Type, id)
	plain := s.TTL != nil && len(s.Values) > 0
	switch {
	case s.AliasTarget == nil && !plain:
		return invalidInput("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or "+
			"TrafficPolicyInstanceId], but found none in %s", what)
	case s.AliasTarget != nil && (s.TTL != nil || len(s.Values) > 0):
		return invalidInput("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or "+
			"TrafficPolicyInstanceId], but found more than one in %s", what)
	}
	policies := routing(s)
	switch {
	case len(policies) > 1:
		return invalidInput("Invalid request: Expected exactly one of [Weight, Region, Failover, GeoLocation, or "+
			"MultiValueAnswer], but found more than one in %s", what)
	case len(policies) == 1 && s.SetIdentifier == "":
		return invalidInput("Invalid request: Missing field 'SetIdentifier' in %s", what)
	case len(policies) == 0 && s.SetIdentifier != "":
		return invalidInput("Invalid request: Expected exactly one of [Weight, Region, Failover, GeoLocation, or "+
			"MultiValueAnswer], but found none in %s", what)
	}
	return nil
}

func routing(s RecordSet) (policies []string) {
	if s.Weight != nil {
		policies = append(policies, "weighted")
	}
	if s.Region != "" {
		policies = append(policies, "latency")
	}
	if s.Failover != "" {
		policies = append(policies, "failover")
	}
	if s.GeoLocation != nil {
		policies = append(policies, "geolocation")
	}
	if s.MultiValueAnswer != nil && *s.MultiValueAnswer {
		policies = append(policies, "multivalue answer")
	}
	return policies
}

func checkLimits(changes []Change) *apiError {
	records, chars := 0, 0
	for _, c := range changes {
		weight := 1
		if c.Action == "UPSERT" {
			weight = 2
		}
		records += weight * max(1, len(c.Set.Values))
		for _, v := range c.Set.Values {
			chars += weight * len(v)
		}
	}
	switch {
	case records > maxRecords:
		return invalidBatch(fmt.Sprintf("Number of records limit of %d exceeded.", maxRecords))
	case chars > maxCharacters:
		return invalidBatch(fmt.Sprintf("Number of characters limit of %d exceeded.", maxCharacters))
	}
	return nil
}

// checkRepeats allows one change of a set, or its DELETE followed by its CREATE.
func checkRepeats(changes []Change) (messages []string) {
	actions := map[key][]string{}
	var keys []key
	for _, c := range changes {
		k := keyOf(c.Set)
		if actions[k] == nil {
			keys = append(keys, k)
		}
		actions[k] = append(actions[k], c.Action)
	}
	for _, k := range keys {
		if a := actions[k]; len(a) > 1 && !slices.Equal(a, []string{"DELETE", "CREATE"}) {
			messages = append(messages, fmt.Sprintf("The request contains an invalid set of changes for a resource record set "+
				"'%s %s'", k.typ, k.name))
		}
	}
	return messages
}

// checkContent refuses names outside the zone and values that are not of their type.
func checkContent(zoneName string, c Change) (messages []string) {
	s := c.Set
	if s.Name != zoneName && !strings.HasSuffix(s.Name, "."+zoneName) {
		return []string{fmt.Sprintf("RRSet with DNS name %s is not permitted in zone %s", s.Name, zoneName)}
	}
	if p := nameProblem(s.Name); p != "" {
		return []string{fmt.Sprintf("FATAL problem: %s encountered with '%s'", p, s.Name)}
	}
	for i, v := range s.Values {
		if slices.Contains(s.Values[:i], v) {
			messages = append(messages, fmt.Sprintf("Duplicate Resource Record: '%s'", v))
		} else if p := valueProblem(s.Type, v); p != "" {
			messages = append(messages, fmt.Sprintf("Invalid Resource Record: 'FATAL problem: %s encountered with '%s''", p, v))
		}
	}
	return messages
}

func nameProblem(name string) string {
	if len(name) > 255 {
		return "DomainNameTooLong (Domain name is too long)"
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		switch {
		case label == "":
			return "DomainLabelEmpty (Domain label is empty)"
		case len(label) > 63:
			return "DomainLabelTooLong (Domain label is too long)"
		}
	}
	return ""
}

func valueProblem(typ, v string) string {
	switch typ {
	case "A":
		if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
			return "ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)"
		}
	case "AAAA":
		if a, err := netip.ParseAddr(v); err != nil || !a.Is6() || a.Zone() != "" {
			return "AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)"
		}
	case "TXT", "SPF":
		if len(v) > 4000 {
			return "TXTRDATATooLong (Value is too long)"
		}
		texts, ok := unquote(v)
		if !ok {
			return "InvalidCharacterString (Value should be enclosed in quotation marks)"
		}
		for _, t := range texts {
			if len(t) > 255 {
				return "CharacterStringTooLong (Value is too long)"
			}
		}
	}
	return ""
}

// unquote splits a TXT value into its character strings.
func unquote(v string) (texts []string, ok bool) {
	for i := 0; ; {
		for i < len(v) && v[i] == ' ' {
			i++
		}
		if i == len(v) {
			return texts, len(texts) > 0
		}
		if v[i] != '"' {
			return nil, false
		}
		i++
		var b strings.Builder
		for ; i < len(v) && v[i] != '"'; i++ {
			switch {
			case v[i] == '\\' && i+3 < len(v) && isOctal(v[i+1:i+4]):
				b.WriteByte((v[i+1]-'0')<<6 | (v[i+2]-'0')<<3 | (v[i+3] - '0'))
				i += 3
			case v[i] == '\\' && i+1 < len(v):
				i++
				b.WriteByte(v[i])
			default:
				b.WriteByte(v[i])
			}
		}
		if i >= len(v) {
			return nil, false
		}
		i++
		texts = append(texts, b.String())
	}
}

// step does one change, or says in the API's words why not.
func (z zone) step(zoneName string, c Change) string {
	k := keyOf(c.Set)
	old, exists := z[k]
	what := fmt.Sprintf("[name='%s', type='%s'", k.name, k.typ)
	if k.id != "" {
		what += fmt.Sprintf(", set-identifier='%s'", k.id)
	}
	what += "]"
	switch c.Action {
	case "DELETE":
		switch {
		case !exists:
			return fmt.Sprintf("Tried to delete resource record set %s but it was not found", what)
		case !same(old, c.Set):
			return fmt.Sprintf("Tried to delete resource record set %s but the values provided do not match the current "+
				"values", what)
		}
		delete(z, k)
		return ""
	case "CREATE":
		if exists {
			return fmt.Sprintf("Tried to create resource record set %s but it already exists", what)
		}
	}
	for other, set := range z {
		if other.name != k.name || other == k {
			continue
		}
		switch {
		case k.typ == "CNAME" && other.typ != "CNAME":
			return fmt.Sprintf("RRSet of type CNAME with DNS name %s is not permitted as it conflicts with other records with "+
				"the same DNS name in zone %s", k.name, zoneName)
		case k.typ != "CNAME" && other.typ == "CNAME":
			return fmt.Sprintf("RRSet of type %s with DNS name %s is not permitted because a conflicting RRSet of type CNAME "+
				"with the same DNS name already exists in zone %s", k.typ, k.name, zoneName)
		case other.typ == k.typ && !slices.Equal(routing(set), routing(c.Set)):
			return fmt.Sprintf("RRSet with DNS name %s, type %s, SetIdentifier %s cannot be created as other RRSets exist with "+
				"the same name and type", k.name, k.typ, cmp.Or(k.id, "null"))
		}
	}
	if k.typ == "CNAME" && k.name == zoneName {
		return fmt.Sprintf("RRSet of type CNAME with DNS name %s is not permitted at apex in zone %s", k.name, zoneName)
	}
	z[k] = c.Set
	return ""
}

// same compares for DELETE: everything counts but the order of the values.
func same(a, b RecordSet) bool {
	av, bv := slices.Sorted(slices.Values(a.Values)), slices.Sorted(slices.Values(b.Values))
	return slices.Equal(av, bv) && equal(a.TTL, b.TTL) && equal(a.Weight, b.Weight) && a.Region == b.Region &&
		equal(a.GeoLocation, b.GeoLocation) && a.Failover == b.Failover && equal(a.MultiValueAnswer, b.MultiValueAnswer) &&
		equal(a.AliasTarget, b.AliasTarget) && a.HealthCheckID == b.HealthCheckID
}

func equal[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func (z zone) checkApex(zoneName string) (messages []string) {
	if _, ok := z[key{zoneName, "SOA", ""}]; !ok {
		messages = append(messages, "A HostedZone must contain exactly one SOA record.")
	}
	if _, ok := z[key{zoneName, "NS", ""}]; !ok {
		messages = append(messages, "A HostedZone must contain at least one NS record for the zone itself.")
	}
	return messages
}
