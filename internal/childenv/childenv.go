// Package childenv makes the environment of the programs that the agent starts: crm_mon, cibadmin, drbdsetup and what
// the doctor runs.
package childenv

import "os"

// Environ returns this process's environment with what the parsers of a program's output rely on.
//
//   - LC_ALL=C: messages in English. Whether drbdsetup and crm_mon know an option is read from their messages.
//   - TZ=UTC: crm_mon before Pacemaker 2.0.3, and later ones in some places, print a time without a zone. Such a time
//     is UTC then, whatever the zone of the machine is, and whenever it is changed: the time of a promotion is a part
//     of its claim, and one promotion has one claim. What prints a zone prints the same instant.
func Environ() []string { return append(os.Environ(), "LC_ALL=C", "TZ=UTC") }
