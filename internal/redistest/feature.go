package redistest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/taskstore/taskstore/internal/testproc"
)

// A Feature is one that some of the supported server programs lack.
type Feature string

// The features, named as a skipped test names them.
const (
	// ShardedChannels are SPUBLISH and SSUBSCRIBE: Redis 7.0 and later, Valkey.
	ShardedChannels Feature = "sharded channels"
	// WithTLS is a program that was built with TLS.
	WithTLS Feature = "TLS"
)

// Need skips the test, and says why, if the server program lacks a feature. It fails the
// test if it cannot find that out.
func Need(tb testing.TB, feature Feature) {
	tb.Helper()
	has, err := hasFeature(feature)
	if err != nil {
		tb.Fatal(err)
	}
	if !has {
		v, _ := ServerVersion()
		tb.Skipf("redistest: %s has no %s", v, feature)
	}
}

func hasFeature(feature Feature) (bool, error) {
	switch feature {
	case ShardedChannels:
		v, err := ServerVersion()
		return v.AtLeast(7, 0), err
	case WithTLS:
		return speaksTLS()
	}
	return false, fmt.Errorf("redistest: unknown feature %q", feature)
}

// A Version is the version of a server program, such as {"Redis", 7, 0, "7.0.15"}.
type Version struct {
	Product      string // "Redis" or "Valkey"
	Major, Minor int
	Full         string
}

func (v Version) String() string { return v.Product + " " + v.Full }

// AtLeast reports whether the version is this one or a later one. Valkey continues the
// numbers of Redis 7.2, so the numbers compare across both.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// ServerVersion returns the version of [Binary].
var ServerVersion = sync.OnceValues(func() (Version, error) {
	bin, err := Binary()
	if err != nil {
		return Version{}, err
	}
	out, err := exec.Command(bin, "--version").CombinedOutput()
	if err != nil {
		return Version{}, fmt.Errorf("redistest: %s --version: %w\n%s", bin, err, out)
	}
	return parseVersion(string(out))
})

var versionLine = regexp.MustCompile(`(?m)^(\w+) server v=((\d+)\.(\d+)[.\w-]*)`)

func parseVersion(line string) (Version, error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return Version{}, fmt.Errorf("redistest: no version of a server: %q", line)
	}
	major, _ := strconv.Atoi(m[3])
	minor, _ := strconv.Atoi(m[4])
	return Version{Product: m[1], Major: major, Minor: minor, Full: m[2]}, nil
}

// speaksTLS starts the server with a TLS port and no certificate. The server exits at once
// and says whether it lacks the certificate or TLS itself.
var speaksTLS = sync.OnceValues(func() (bool, error) {
	bin, err := Binary()
	if err != nil {
		return false, err
	}
	dir, err := testproc.NewDir()
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what remains goes with the root directory
	port, err := testproc.FreePort()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	probe := exec.CommandContext(ctx, bin, "--port", "0", "--tls-port", strconv.Itoa(port), "--bind", loopback, "--dir", dir)
	probe.Dir = dir
	out, _ := probe.CombinedOutput()
	switch log := string(out); {
	case strings.Contains(log, "tls-cert-file"):
		return true, nil
	case strings.Contains(log, "Missing implement of connection type tls"), strings.Contains(log, "Bad directive"):
		return false, nil
	default:
		return false, fmt.Errorf("redistest: whether %s has TLS is unclear:\n%s", bin, log)
	}
})
