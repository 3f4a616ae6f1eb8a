package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// machine is one virtual machine. Its power is the life of its QEMU process.
type machine struct {
	name    string
	id      string // as EC2 calls it
	addr    netip.Addr
	gateway netip.Addr
	tap     string
	mac     string

	img image
	dir string // disks, sockets, console

	mu   sync.Mutex
	qemu *exec.Cmd
	gone chan struct{} // closed when the process has ended
}

const (
	machineMemory = 1024 // MiB
	dataDisk      = "1G"
)

func (m *machine) file(name string) string { return filepath.Join(m.dir, m.name+"-"+name) }

// makeDisks makes the machine's disks as layers over the base's: the image and nothing, or a snapshot's disks.
func (m *machine) makeDisks(ctx context.Context, root, data string) error {
	if err := command(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", root,
		m.file("root.qcow2")); err != nil {
		return err
	}
	if data == "" {
		return command(ctx, "qemu-img", "create", "-q", "-f", "qcow2", m.file("data.qcow2"), dataDisk)
	}
	return command(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", data, m.file("data.qcow2"))
}

// start switches the power on. With incoming, the machine waits for a snapshot's memory from that file.
func (m *machine) start(incoming string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.qemu != nil {
		return errors.New("start " + m.name + ": it is running")
	}
	disk := func(name string) string {
		// What a guest did not flush is lost with its power all the same: that is in its own memory.
		return "file=" + m.file(name) + ",if=virtio,format=qcow2,cache=unsafe,discard=unmap"
	}
	args := []string{
		"-name", m.name, "-no-user-config", "-nodefaults", "-machine", "pc",
		// Multi-threaded emulation; without cmpxchg16b, which QEMU miscompiled for a while.
		"-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off,-cx16",
		"-smp", "1", "-m", fmt.Sprint(machineMemory), "-display", "none",
		"-serial", "file:" + m.file("console"), "-qmp", "unix:" + m.file("qmp") + ",server=on,wait=off",
		"-kernel", m.img.path("vmlinuz"), "-initrd", m.img.path("initrd"),
		"-append", fmt.Sprintf("console=ttyS0 quiet loglevel=4 mitigations=off net.ifnames=0 panic=-1 audit=0 apparmor=0 "+
			"random.trust_cpu=on systemd.show_status=0 lab.node=%s lab.ip=%s/24 lab.gw=%s",
			m.name, m.addr, m.gateway),
		"-drive", disk("root.qcow2"), "-drive", disk("data.qcow2"), "-device", "virtio-rng-pci",
		"-netdev", "tap,id=n0,ifname=" + m.tap + ",script=no,downscript=no", "-device",
		"virtio-net-pci,netdev=n0,mac=" + m.mac + ",romfile=",
	}
	if incoming != "" {
		args = append(args, "-S", "-incoming", "exec:zstd -dc -q "+incoming)
	}
	_ = os.Remove(m.file("qmp"))
	log, err := os.OpenFile(m.file("qemu.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("qemu-system-x86_64", args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C on the terminal is for the lab, not for its machines
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	gone := make(chan struct{})
	m.qemu, m.gone = cmd, gone
	go func() {
		_ = cmd.Wait()
		m.mu.Lock()
		m.qemu = nil
		m.mu.Unlock()
		close(gone)
	}()
	return nil
}

// monitor runs commands of QEMU's machine protocol.
func (m *machine) monitor(ctx context.Context, f func(*qmp) error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	q, err := dialQMP(ctx, m.file("qmp"))
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	defer q.close()
	if err := f(q); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// Pause stops the machine's processor: a hang of the whole kernel, as the others see it.
func (m *machine) Pause(ctx context.Context) error {
	return m.monitor(ctx, func(q *qmp) error { return q.do("stop", nil, nil) })
}

// Resume lets a paused machine go on where it was.
func (m *machine) Resume(ctx context.Context) error {
	return m.monitor(ctx, func(q *qmp) error { return q.do("cont", nil, nil) })
}

// leaves waits until QEMU's run state is none of the given, and returns it.
func (m *machine) leaves(ctx context.Context, states ...string) (string, error) {
	var status string
	err := m.monitor(ctx, func(q *qmp) error {
		for {
			var s struct{ Status string }
			if err := q.do("query-status", nil, &s); err != nil {
				return err
			}
			status = s.Status
			in := false
			for _, st := range states {
				in = in || st == status
			}
			if !in {
				return nil
			}
			if err := wait.For(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
	})
	return status, err
}

// InstanceID is the machine's name in EC2.
func (m *machine) InstanceID() string { return m.id }

// Name is the machine's name in the cluster.
func (m *machine) Name() string { return m.name }

// Addr is the machine's address.
func (m *machine) Addr() netip.Addr { return m.addr }

// Running says whether the power is on.
func (m *machine) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.qemu != nil
}

// PowerOff pulls the plug and waits until the machine is gone.
func (m *machine) PowerOff() error {
	m.mu.Lock()
	cmd, gone := m.qemu, m.gone
	m.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("power off %s: %w", m.name, err)
	}
	<-gone
	return nil
}

// PowerOn boots the machine from its disks.
func (m *machine) PowerOn() error { return m.start("") }
