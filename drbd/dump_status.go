package drbd

// NewDump makes the documented JSON form of a Status. Counters are zero: they belong to a recording.
func NewDump(s Status) *Dump { return dumpOf(s) }
