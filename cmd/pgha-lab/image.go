package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const guestSuite = "trixie"

// guestPackages is what a node of such a cluster has, and what the scenarios use to look at it and to break it.
var guestPackages = []string{
	"systemd-sysv", "e2fsprogs", "logsave", "udev", "dbus", "kmod", "iproute2", "iputils-ping", "procps", "openssh-server",
	"ca-certificates",
	"linux-image-cloud-amd64", "busybox-static",
	"pacemaker", "pacemaker-cli-utils", "corosync", "pcs", "resource-agents", "fence-agents-common", "drbd-utils",
	"postgresql-17",
	"curl", "jq", "nftables", "bind9-dnsutils", "libxml2-utils", "strace",
	"awscli", // for ocf:heartbeat:aws-vpc-route53
}

//go:embed guest/customize.sh
var customizeScript []byte

// image is the base of both machines: a Debian root, its kernel and an initial RAM disk.
type image struct {
	dir string
	key string // of its content
}

func (i image) path(name string) string { return filepath.Join(i.dir, name) }

// imageInit mounts the root. Everything but the disk driver is built into the cloud kernel.
const imageInit = `#!/bin/busybox sh
B=/bin/busybox
$B mount -t devtmpfs d /dev; $B mount -t proc p /proc; $B mount -t sysfs s /sys
for m in /lib/*.ko; do $B insmod $m; done
i=0; while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do $B sleep 0.1; i=$((i+1)); done
$B mount -t ext4 /dev/vda /mnt
$B umount /sys; $B umount /proc; $B mount --move /dev /mnt/dev
exec $B switch_root /mnt /usr/lib/systemd/systemd
`

// imageKey names the content of an image: what it is made from, but not the versions of the distribution's packages on
// that day.
func imageKey(modules string) (string, error) {
	h := sha256.New()
	fmt.Fprint(h, guestSuite, guestPackages, imageInit)
	h.Write(customizeScript)
	for _, m := range moduleFiles(modules) {
		f, err := os.Open(m)
		if err != nil {
			return "", fmt.Errorf("read kernel module: %w", err)
		}
		_, err = io.Copy(h, f)
		_ = f.Close()
		if err != nil {
			return "", fmt.Errorf("read kernel module: %w", err)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:12], nil
}

func moduleFiles(dir string) []string {
	if dir == "" {
		return nil
	}
	m, _ := filepath.Glob(filepath.Join(dir, "*.ko"))
	return m
}

// buildImage makes the image, or finds it in the cache. It needs the distribution's mirror, and so it runs outside of
// the lab's network namespace.
func buildImage(ctx context.Context, cache, modules string) (image, error) {
	if modules != "" && len(moduleFiles(modules)) == 0 {
		return image{}, fmt.Errorf("LAB_MODULES=%s holds no *.ko file", modules)
	}
	key, err := imageKey(modules)
	if err != nil {
		return image{}, err
	}
	img := image{dir: filepath.Join(cache, "image-"+key), key: key}
	return img, cached(img.dir, func(dir string) error {
		slog.Info("building the machines' image", "suite", guestSuite, "packages", len(guestPackages), "about", "3m")
		start := time.Now()
		if err := makeImage(ctx, dir, modules); err != nil {
			return fmt.Errorf("build image: %w", err)
		}
		slog.Info("image built", "took", time.Since(start).Round(time.Second))
		return nil
	})
}

// cached makes a directory once: the work is done beside it and renamed, so that what has its name is whole.
func cached(dir string, build func(dir string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := build(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there == nil {
			return nil // another lab was faster
		}
		return err
	}
	return nil
}

func makeImage(ctx context.Context, dir, modules string) error {
	pub, err := makeKey(filepath.Join(dir, "id"))
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(dir, "work-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	for name, b := range map[string][]byte{"lab.pub": pub, "customize.sh": customizeScript} {
		if err := os.WriteFile(filepath.Join(work, name), b, 0o644); err != nil {
			return err
		}
	}
	mirror, err := hostMirror()
	if err != nil {
		return err
	}
	root := filepath.Join(work, "root")
	args := []string{
		"--variant=minbase", "--mode=root", "--format=directory", "--quiet",
		`--aptopt=Apt::Install-Recommends "false"`, `--aptopt=Acquire::Languages "none"`,
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		"--include=" + strings.Join(guestPackages, ","),
		"--customize-hook=copy-in " + filepath.Join(work, "customize.sh") + " " + filepath.Join(work, "lab.pub") + " /root",
	}
	if files := moduleFiles(modules); len(files) > 0 {
		args = append(args, `--customize-hook=mkdir -p "$1/root/modules"`,
			"--customize-hook=copy-in "+strings.Join(files, " ")+" /root/modules")
	}
	args = append(args, `--customize-hook=chroot "$1" bash /root/customize.sh`,
		guestSuite, root, "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "+mirror+" "+guestSuite+" main")
	if err := command(ctx, "mmdebstrap", args...); err != nil {
		return err
	}
	kernels, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if len(kernels) != 1 {
		return fmt.Errorf("find the guest's kernel: %d in /boot", len(kernels))
	}
	version := strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")
	if err := copyFile(filepath.Join(dir, "vmlinuz"), kernels[0]); err != nil {
		return err
	}
	if err := makeInitrd(ctx, filepath.Join(dir, "initrd"), filepath.Join(work, "initrd"), root, version); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(dir, "packages.txt"), filepath.Join(root, "root/packages.txt")); err != nil {
		return err
	}
	raw := filepath.Join(work, "base.ext4")
	if err := os.WriteFile(raw, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(raw, 6<<30); err != nil {
		return err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-F", "-L", "root", "-J", "size=16", "-E",
		"lazy_itable_init=0,root_owner=0:0", "-d", root, raw); err != nil {
		return err
	}
	return command(ctx, "qemu-img", "convert", "-O", "qcow2", raw, filepath.Join(dir, "base.qcow2"))
}

func makeInitrd(ctx context.Context, out, dir, root, version string) error {
	for _, d := range []string{"bin", "dev", "proc", "sys", "mnt", "lib"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := copyFile(filepath.Join(dir, "bin/busybox"), filepath.Join(root, "usr/bin/busybox")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "init"), []byte(imageInit), 0o755); err != nil {
		return err
	}
	driver := filepath.Join(root, "usr/lib/modules", version, "kernel/drivers/block/virtio_blk.ko.xz")
	script :=
		`set -eu; xz -dc "$1" >lib/virtio_blk.ko; chmod 755 bin/busybox; find . | cpio -o -H newc --quiet | gzip -9 >"$2"`
	cmd := exec.CommandContext(ctx, "sh", "-c", script, "sh", driver, out)
	cmd.Dir = dir
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make initial RAM disk: %w: %s", err, tail(b))
	}
	return nil
}

// makeKey writes the private key the lab logs in with, and returns its line for authorized_keys.
func makeKey(path string) ([]byte, error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make ssh key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "lab")
	if err != nil {
		return nil, fmt.Errorf("make ssh key: %w", err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, fmt.Errorf("write ssh key: %w", err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("make ssh key: %w", err)
	}
	return ssh.MarshalAuthorizedKey(key), nil
}

// hostMirror is the mirror that the host itself installs from.
func hostMirror() (string, error) {
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*")
	for _, f := range append(files, "/etc/apt/sources.list") {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for w := range strings.FieldsSeq(string(b)) {
			if (strings.HasPrefix(w, "http://") || strings.HasPrefix(w, "https://")) && strings.Contains(w, "debian") &&
				!strings.Contains(w, "security") && !strings.Contains(w, "snapshot") {
				return w, nil
			}
		}
	}
	return "", errors.New("find a Debian mirror: none in the apt sources of the host")
}

// command runs a program; its error holds the end of what the program said.
func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	if b, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("run %s: %w: %s", name, err, tail(b))
	}
	return nil
}

func tail(b []byte) string {
	s := strings.TrimSpace(string(b))
	if len(s) > 1500 {
		s = "..." + s[len(s)-1500:]
	}
	return s
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
