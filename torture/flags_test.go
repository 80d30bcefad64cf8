//go:build integration

package torture

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
)

// The tests run for two minutes, or for an hour or so if the environment variable
// TASKSTORE_TORTURE is "long", which takes a -timeout to match. A failure says how to
// run it again.
var (
	seedFlag      = flag.Uint64("seed", 0, "seed of the first history; 0 means 1, and a new one in a long run")
	historiesFlag = flag.Int("histories", 0, "number of histories of each test; 0 means the test's own")
	faultsFlag    = flag.String("faults", "", "faults instead of the test's own, such as drop=0.1,cut=0,delay=0.05,split=1")
	roundsFlag    = flag.Int("rounds", 0, "number of times that a master is killed; 0 means the test's own")
)

var long = os.Getenv("TASKSTORE_TORTURE") == "long"

func TestMain(m *testing.M) {
	logging.Disable() // go-redis speaks of each connection that breaks
	redistest.Main(m)
}

// either returns the flag's value, or else the number for the kind of run.
func either(flag, short, inLong int) int {
	switch {
	case flag > 0:
		return flag
	case long:
		return inLong
	}
	return short
}

// firstSeed returns the seed of a test's first history.
func firstSeed() uint64 {
	switch {
	case *seedFlag != 0:
		return *seedFlag
	case long:
		return uint64(rand.Uint32())
	}
	return 1
}

// again returns the command that runs one history of a test again. The calls and
// the faults are the same as long as the clients' calls arrive in the same order.
func again(t *testing.T, seed uint64) string {
	run := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	command := fmt.Sprintf("go test -tags integration -run '%s' . -args -seed=%d -histories=1", run, seed)
	if *faultsFlag != "" {
		command += " -faults=" + *faultsFlag
	}
	return command
}

// rates returns the faults that a test runs with: its own or those of the flag.
func rates(t *testing.T, own faultproxy.Faults) faultproxy.Faults {
	if *faultsFlag == "" {
		return own
	}
	f := faultproxy.Faults{Hold: delayed.Hold}
	rate := map[string]*float64{"drop": &f.DropReply, "cut": &f.CutBefore, "delay": &f.Delay, "split": &f.Split}
	for field := range strings.SplitSeq(*faultsFlag, ",") {
		name, value, _ := strings.Cut(field, "=")
		require.Contains(t, rate, name, "-faults")
		n, err := strconv.ParseFloat(value, 64)
		require.NoError(t, err, "-faults")
		*rate[name] = n
	}
	return f
}
