package drbd

import "time"

// sampleEvery is the least time between two out-of-sync counts that a rate is derived from.
const sampleEvery = time.Second

func (a *apply) peerDevice(p *peerDevice) {
	was := p.Replication
	var done, rate, eta bool // told by this line
	for _, fd := range a.ev.Fields {
		switch fd.Key {
		case KeyDone:
			v, ok := parseDecimal(fd.Value)
			if !ok || v > 100 {
				a.f.counters.UnknownValues++
				v = -1
			}
			a.note(set(&p.Done, v))
			done = true
		case KeyRate: // MiB/s
			v, ok := parseDecimal(fd.Value)
			if ok {
				v *= 1 << 20
			} else {
				a.f.counters.UnknownValues++
				v = -1
			}
			a.note(set(&p.RateBytesPerSec, v))
			rate, p.told = true, true
		case KeyETA:
			a.note(set(&p.ETA, a.eta(fd.Value)))
			eta = true
		case KeyReceived, KeySent, KeyOutOfSync, KeyPending, KeyUnacked:
			if p.Stats == nil {
				p.Stats = &PeerDeviceStats{}
				a.changed = true
			}
			a.peerDeviceStat(p.Stats, fd)
		case KeyReplication:
			if !a.statistics {
				word(a, &p.Replication, replicationWords, fd.Value)
			}
		case KeyPeerDisk:
			if !a.statistics {
				word(a, &p.PeerDisk, diskWords, fd.Value)
			}
		case KeyPeerClient:
			if !a.statistics {
				a.tri(&p.PeerClient, fd.Value)
			}
		case KeyResyncSuspended:
			if !a.statistics {
				a.reasons(&p.ResyncSuspended, &p.ResyncSuspendedKnown, fd.Value)
			}
		}
	}
	// The end of a resync is not printed as done:100, the fields just stop coming; and the numbers of a resync say
	// nothing of the verify that follows it.
	over := p.Replication == ReplOff || p.Replication == ReplEstablished
	if restarted := was != p.Replication && was != ReplUnknown; restarted || over {
		paused := resyncing(was) && resyncing(p.Replication)
		if over || !done && !paused {
			a.note(set(&p.Done, -1))
		}
		if over || !rate {
			a.note(set(&p.RateBytesPerSec, -1))
		}
		if over || !eta {
			a.note(set(&p.ETA, -1))
		}
	}
	if catchingUp(was) != catchingUp(p.Replication) || done && set(&p.lastDone, p.Done) {
		p.moved = a.now
	}
	a.derive(p, was != p.Replication, done, rate, eta)
}

// derive notices progress in the out-of-sync count, and makes percent and rate of it where the stream prints none (DRBD
// 8.4).
func (a *apply) derive(p *peerDevice, restarted, done, rate, eta bool) {
	if p.Stats == nil {
		return
	}
	now, left := a.now, p.Stats.OutOfSyncBytes
	if set(&p.left, left) {
		p.moved = now
	}
	p.toldDone = p.toldDone || done
	if restarted {
		p.most = 0
	}
	syncs := p.Replication == ReplSyncSource || p.Replication == ReplSyncTarget
	if p.most = max(p.most, left); !p.toldDone && p.most > 0 && syncs {
		a.note(set(&p.Done, 100*(1-float64(left)/float64(p.most))))
	}
	switch {
	case restarted || p.sampled.IsZero() || left > p.sample:
	case p.told || !syncs:
	case now.Sub(p.sampled) < sampleEvery:
		return // keep the older sample
	default:
		bps := float64(p.sample-left) / now.Sub(p.sampled).Seconds()
		if !rate {
			a.note(set(&p.RateBytesPerSec, bps))
		}
		if !eta {
			a.note(set(&p.ETA, etaOf(left, bps)))
		}
	}
	p.sampled, p.sample = now, left
}

func etaOf(left uint64, bps float64) time.Duration {
	if bps <= 0 {
		return -1
	}
	return seconds(float64(left) / bps)
}

// maxETA is above every honest estimate. The kernel's "not known" is 987654321 s.
const maxETA = 10 * 365 * 24 * time.Hour

func seconds(s float64) time.Duration {
	if s > maxETA.Seconds() {
		return -1
	}
	return time.Duration(s) * time.Second
}

func (a *apply) eta(b []byte) time.Duration {
	v, ok := parseDecimal(b)
	if !ok {
		if s := string(b); s != "nan" && s != "-nan" && s != "inf" {
			a.f.counters.UnknownValues++
		}
		return -1
	}
	return seconds(v)
}

func (a *apply) peerDeviceStat(s *PeerDeviceStats, fd Field) {
	switch fd.Key {
	case KeyReceived:
		a.counter(&s.ReceivedBytes, fd.Value, 1024)
	case KeySent:
		a.counter(&s.SentBytes, fd.Value, 1024)
	case KeyOutOfSync:
		a.counter(&s.OutOfSyncBytes, fd.Value, 1024)
	case KeyPending:
		a.counter(&s.Pending, fd.Value, 1)
	case KeyUnacked:
		a.counter(&s.Unacked, fd.Value, 1)
	}
}
