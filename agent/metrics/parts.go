package metrics

import (
	"slices"
	"strconv"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

func itoa(n int) string { return strconv.Itoa(n) }

func collectNodes(s *view, emit func(float64, ...string)) {
	if s.Crm == nil {
		return
	}
	fresh := s.State.Cluster.OK
	for _, n := range s.Crm.Nodes {
		is := map[string]bool{
			"online": n.Online == crm.Yes, "offline": n.Online == crm.No, "unclean": n.Unclean == crm.Yes,
			"standby": n.Standby == crm.Yes,
			"pending": n.Pending == crm.Yes, "maintenance": n.Maintenance == crm.Yes,
		}
		for _, state := range nodeStates {
			emit(number(fresh && is[state]), n.Name, state)
		}
		emit(number(!fresh || n.Online == crm.Unknown), n.Name, "unknown")
	}
}

func triState(read func(*crm.Status) crm.Tri) func(*view, func(float64, ...string)) {
	return func(s *view, emit func(float64, ...string)) {
		if !s.State.Cluster.OK {
			return
		}
		if t := read(s.Crm); t != crm.Unknown {
			emit(number(t == crm.Yes))
		}
	}
}

func withDrbd(collect func(drbd.Resource, func(float64, ...string))) func(*view, func(float64, ...string)) {
	return func(s *view, emit func(float64, ...string)) {
		if r, ok := s.Resource(); ok && s.Drbd.Live {
			collect(r, emit)
		}
	}
}

func eachPeerDevice(collect func(string, drbd.PeerDevice, func(float64, ...string))) func(*view,
	func(float64, ...string)) {
	return withDrbd(func(r drbd.Resource, emit func(float64, ...string)) {
		for _, c := range r.Connections {
			for _, v := range c.Volumes {
				collect(c.Name, v, emit)
			}
		}
	})
}

// eachFilesystem leaves out what cannot be asked, and what holds no data of the database.
func eachFilesystem(collect func(status.MountDoc, func(float64, ...string))) func(*view, func(float64, ...string)) {
	return func(s *view, emit func(float64, ...string)) {
		for _, m := range s.judged().Mounts {
			if m.OfDatabase() {
				collect(m, emit)
			}
		}
	}
}

// helpers returns the last call of each helper.
func helpers(r drbd.Resource) []drbd.HelperCall {
	var last []drbd.HelperCall
	for _, h := range slices.Backward(r.Helpers) {
		if !slices.ContainsFunc(last, func(o drbd.HelperCall) bool { return o.Name == h.Name }) {
			last = append(last, h)
		}
	}
	return last
}
