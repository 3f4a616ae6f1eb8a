package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const sandboxTest = "PGHA_LAB_SANDBOX_TEST"

// TestMain lets the test binary be the lab of TestNothingIsLeftOfALabThatIsKilled: outside it enters the sandbox, inside
// it starts a process and waits.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(sandboxTest) == "":
		os.Exit(m.Run())
	case os.Getenv(sandboxDir) == "":
		_, err := enterSandbox(os.Getenv(sandboxTest))
		fmt.Println("left", err)
	default:
		err := settleSandbox()
		if err == nil {
			err = exec.Command("ip", "tuntap", "add", "dev", "lab-test-only", "mode", "tap").Run()
		}
		if err == nil {
			err = exec.Command("sleep", sandboxSleep).Start()
		}
		fmt.Println("inside", os.Getpid(), err)
		time.Sleep(time.Minute)
	}
}

const sandboxSleep = "98.7654321"

func sleeping() bool {
	out, _ := exec.Command("pgrep", "-f", "^sleep "+sandboxSleep).Output()
	return len(out) > 0
}

func TestNothingIsLeftOfALabThatIsKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: that a killed lab leaves nothing behind was not tested")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("no /dev/net/tun: that a killed lab leaves nothing behind was not tested")
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), sandboxTest+"="+t.TempDir())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		if strings.TrimSpace(line) != "inside 1 <nil>" {
			t.Fatalf("the lab says %q", line)
		}
		if !sleeping() {
			t.Fatal("its process does not run")
		}
		if _, err := os.Stat("/sys/class/net/lab-test-only"); err == nil {
			t.Fatal("its interface is on the host")
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		for end := time.Now().Add(5 * time.Second); sleeping(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				_ = exec.Command("pkill", "-f", "^sleep "+sandboxSleep).Run()
				t.Fatalf("after signal %v its process is still there", sig)
			}
		}
	}
}
