//go:build integration && unix

package redistest

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	patience = 20 * time.Second
	tick     = 10 * time.Millisecond
)

func TestMain(m *testing.M) { Main(m) }

func client(tb testing.TB, url string) *redis.Client {
	opt, err := redis.ParseURL(url)
	require.NoError(tb, err)
	c := redis.NewClient(opt)
	tb.Cleanup(func() { c.Close() })
	return c
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// run runs a subtest and checks that the servers that it returns leave no process and no
// directory.
func run(t *testing.T, name string, f func(t *testing.T) []*Server) {
	var servers []*Server
	t.Run(name, func(t *testing.T) { servers = f(t) })
	for _, s := range servers {
		assert.True(t, gone(s.Pid()), "process %d is left", s.Pid())
		assert.NoDirExists(t, s.Dir())
	}
}

func TestStart(t *testing.T) {
	run(t, "start", func(t *testing.T) []*Server {
		s := Start(t)
		assert.NoError(t, client(t, s.URL()).Ping(t.Context()).Err())
		assert.DirExists(t, s.Dir())
		assert.Contains(t, s.Log(), "Ready to accept connections")
		return []*Server{s}
	})
	run(t, "password", func(t *testing.T) []*Server {
		s := Start(t, "--requirepass", "a b")
		assert.NoError(t, client(t, s.URL()).Ping(t.Context()).Err())
		assert.ErrorContains(t, client(t, "redis://"+s.Addr()).Ping(t.Context()).Err(), "NOAUTH")
		return []*Server{s}
	})
	t.Run("directory of the caller", func(t *testing.T) {
		dir := t.TempDir()
		s := StartConfig(t, Config{Dir: dir, Args: []string{"--appendonly", "yes"}})
		assert.Equal(t, dir, s.Dir())
		s.Stop()
		assert.DirExists(t, dir)
		kept, err := filepath.Glob(filepath.Join(dir, "appendonly*")) // a folder, before 7.0 a file
		require.NoError(t, err)
		assert.Len(t, kept, 1)
	})
}

func TestStartReportsTheLog(t *testing.T) {
	_, err := startServer(Config{Args: []string{"--no-such-option", "1"}})
	assert.ErrorIs(t, err, errExited)
	assert.ErrorContains(t, err, "no-such-option")
}

func TestStartTakesAnotherPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	taken := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)

	attempts := 0
	s, err := launch(spec{args: func(dir string, port int) ([]string, error) {
		if attempts++; attempts == 1 {
			return serverArgs(dir, port, []string{"--port", taken}), nil
		}
		return serverArgs(dir, port), nil
	}})
	require.NoError(t, err)
	s.attach(t)
	assert.Equal(t, 2, attempts)

	_, err = startServer(Config{Args: []string{"--port", taken}})
	assert.ErrorIs(t, err, errPortTaken)
}

func TestRestartKeepsTheData(t *testing.T) {
	for name, end := range map[string]func(*Server){"kill": (*Server).Kill, "stop": (*Server).Stop} {
		run(t, name, func(t *testing.T) []*Server {
			s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
			c := client(t, s.URL())
			require.NoError(t, c.Set(t.Context(), "key", "value", 0).Err())

			pid := s.Pid()
			end(s)
			end(s) // no harm
			assert.True(t, gone(pid))
			_, err := net.Dial("tcp", s.Addr())
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)

			s.Restart()
			assert.NotEqual(t, pid, s.Pid())
			assert.Equal(t, "value", c.Get(t.Context(), "key").Val())
			return []*Server{s}
		})
	}
}

func TestSuspendAndResume(t *testing.T) {
	run(t, "resume", func(t *testing.T) []*Server {
		s := Start(t)
		c := client(t, s.URL()+"?read_timeout=100ms&max_retries=-1")
		require.NoError(t, c.Ping(t.Context()).Err())

		s.Suspend()
		var timeout net.Error
		require.ErrorAs(t, c.Ping(t.Context()).Err(), &timeout)
		assert.True(t, timeout.Timeout())

		s.Resume()
		assert.Eventually(t, func() bool { return c.Ping(t.Context()).Err() == nil }, patience, tick)
		return []*Server{s}
	})
	run(t, "end while suspended", func(t *testing.T) []*Server {
		killed, stopped, left := Start(t), Start(t), Start(t)
		for _, s := range []*Server{killed, stopped, left} {
			s.Suspend()
		}
		killed.Kill()
		stopped.Stop()
		assert.Contains(t, stopped.Log(), "bye bye")
		return []*Server{killed, stopped, left}
	})
}

func TestClusterOfOne(t *testing.T) {
	run(t, "cluster of one", func(t *testing.T) []*Server {
		s := StartClusterOfOne(t)
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr()}})
		defer c.Close()
		for i := range 20 {
			require.NoError(t, c.Set(t.Context(), fmt.Sprint("key", i), i, 0).Err())
		}
		return []*Server{s}
	})
}

func TestCluster(t *testing.T) {
	run(t, "cluster", func(t *testing.T) []*Server {
		cluster := StartCluster(t, "--requirepass", "secret")
		require.Len(t, cluster.Masters, 3)
		require.Len(t, cluster.Replicas, 3)
		opt, err := redis.ParseClusterURL(cluster.URL())
		require.NoError(t, err)
		assert.Equal(t, cluster.Addrs(), opt.Addrs)
		c := redis.NewClusterClient(opt)
		defer c.Close()

		// Each master's replica gets the keys of the master's range.
		served := 0
		for i := 0; served < len(cluster.Masters); i++ {
			key := fmt.Sprint("key", i)
			slot := int(c.ClusterKeySlot(t.Context(), key).Val())
			if first, last := slotRange(served); slot < first || slot > last {
				continue
			}
			require.NoError(t, c.Set(t.Context(), key, i, 0).Err())
			master, replica := client(t, cluster.Masters[served].URL()), client(t, cluster.Replicas[served].URL())
			assert.EqualValues(t, 1, master.DBSize(t.Context()).Val())
			assert.Eventually(t, func() bool { return replica.DBSize(t.Context()).Val() == 1 }, patience, tick)
			served++
		}

		cluster.Masters[0].Kill()
		assert.Eventually(t, func() bool {
			info, _ := cluster.Replicas[0].info("replication")
			return info["role"] == "master"
		}, patience, tick)
		cluster.Masters[0].Restart()
		assert.NoError(t, poll(patience, cluster.Masters[0].inSync))
		return cluster.nodes()
	})
}

func TestSentinel(t *testing.T) {
	for name, args := range map[string][]string{"no password": nil, "password": {"--requirepass", "a b"}} {
		run(t, name, func(t *testing.T) []*Server {
			sentinel := StartSentinel(t, args...)
			opt, err := redis.ParseFailoverURL(sentinel.URL())
			require.NoError(t, err)
			assert.Equal(t, sentinel.Addrs(), opt.SentinelAddrs)
			c := redis.NewFailoverClient(opt)
			defer c.Close()
			require.NoError(t, c.Set(t.Context(), "key", "value", 0).Err())
			acked, err := c.Wait(t.Context(), len(sentinel.Replicas), patience).Result()
			require.NoError(t, err)
			require.EqualValues(t, len(sentinel.Replicas), acked)

			master := func(s *Server) string {
				sc := redis.NewSentinelClient(&redis.Options{Addr: s.Addr()})
				defer sc.Close()
				addr, err := sc.GetMasterAddrByName(t.Context(), sentinel.MasterName).Result()
				if err != nil || len(addr) != 2 {
					return fmt.Sprint(addr, err)
				}
				return net.JoinHostPort(addr[0], addr[1])
			}
			for _, s := range sentinel.Sentinels {
				assert.Equal(t, sentinel.Master.Addr(), master(s))
			}
			sentinel.Master.Kill()
			for _, s := range sentinel.Sentinels {
				assert.Eventually(t, func() bool {
					return slices.Contains(addrsOf(sentinel.Replicas...), master(s))
				}, patience, tick)
			}
			assert.Eventually(t, func() bool {
				return c.Get(t.Context(), "key").Val() == "value" && c.Set(t.Context(), "key", "new", 0).Err() == nil
			}, patience, tick)
			return sentinel.servers()
		})
	}
}

// Need reports a feature exactly if the server has it.
func TestFeaturesAreThoseOfTheServer(t *testing.T) {
	c := client(t, Start(t).URL())
	sharded, err := hasFeature(ShardedChannels)
	require.NoError(t, err)
	err = c.SPublish(t.Context(), "channel", "").Err()
	assert.Equal(t, sharded, err == nil, "%v", err)

	secure, err := hasFeature(WithTLS)
	require.NoError(t, err)
	pem, err := newTLS(t.TempDir())
	require.NoError(t, err)
	s, err := startServer(Config{Args: pem.Args()})
	assert.Equal(t, secure, err == nil, "%v", err)
	if err == nil {
		s.attach(t)
	}
	version, err := c.InfoMap(t.Context(), "server").Result()
	require.NoError(t, err)
	v, err := ServerVersion()
	require.NoError(t, err)
	field := map[string]string{"Redis": "redis_version", "Valkey": "valkey_version"}[v.Product]
	assert.Equal(t, version["Server"][field], v.Full)
}

func TestSharedIsOneForAll(t *testing.T) {
	assert.Same(t, Shared(t), Shared(t))
	assert.NoError(t, client(t, SharedURL(t)).Ping(t.Context()).Err())
	assert.Same(t, SharedCluster(t), SharedCluster(t))
	assert.Same(t, SharedSentinel(t), SharedSentinel(t))
}
