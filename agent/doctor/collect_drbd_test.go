package doctor

import "testing"

func TestVersions(t *testing.T) {
	for out, want := range map[string]drbdVersions{
		"DRBDADM_API_VERSION=1\nDRBD_KERNEL_VERSION_CODE=0x08040b\nDRBDADM_VERSION_CODE=0x091600\nDRBDADM_VERSION=9.22.0\n": {"8.4.11", "9.22.0"},
		"DRBDADM_API_VERSION=2\nDRBD_KERNEL_VERSION_CODE=0x090212\nDRBD_KERNEL_VERSION=9.2.18\n" +
			"DRBDADM_VERSION_CODE=0x091600\nDRBDADM_VERSION=9.22.0\n": {"9.2.18", "9.22.0"},
		"DRBD_KERNEL_VERSION_CODE=0x000000\nDRBDADM_VERSION=9.34.0\n": {"", "9.34.0"},
	} {
		if got, err := readVersions([]byte(out)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", out, got, err)
		}
	}
	if _, err := readVersions([]byte("no\n")); err == nil {
		t.Error("no version, and no error")
	}
}
