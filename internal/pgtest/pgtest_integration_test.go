//go:build integration

package pgtest

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

// ready reports whether a server listens at addr.
func ready(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func TestServersComeAndGo(t *testing.T) {
	s := Start(t)
	assert.True(t, ready(s.Addr()))
	assert.True(t, ready(s.StartBouncer(t).Addr()))
	assert.True(t, ready(s.StartStandby(t).Addr()))
	s.Crash()
	assert.False(t, ready(s.Addr()))
	s.Restart(t)
	assert.True(t, ready(s.Addr()))
	assert.Equal(t, 1, strings.Count(s.Log(), "automatic recovery in progress"), "it crashed")
	assert.Same(t, Shared(t), Shared(t))
}

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	_, err := launch([]string{"no_such_setting=1"})
	require.ErrorContains(t, err, "no_such_setting")
}
