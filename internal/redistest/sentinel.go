package redistest

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	sentinelMaster   = "taskstore"
	sentinelReplicas = 2
	sentinelCount    = 3
)

// Sentinel is a master with replicas, and the sentinels that watch them. The fields give
// the role with which each process started; a failover does not change the fields.
type Sentinel struct {
	Master     *Server
	Replicas   []*Server
	Sentinels  []*Server
	MasterName string

	password  string
	downAfter int // ms of silence after which a sentinel takes a server for dead
}

// Addrs returns the addresses of the sentinels.
func (s *Sentinel) Addrs() []string { return addrsOf(s.Sentinels...) }

// URL returns redis://s1:port?master_name=NAME&addr=s2:port&addr=s3:port with all sentinels
// and, if the master and the replicas have a password, with &password=PASSWORD. The
// sentinels have no password, and a user part of the URL would be for them.
func (s *Sentinel) URL() string {
	u := seedURL(s.Addrs(), "", "master_name="+s.MasterName)
	if s.password != "" {
		u += "&password=" + url.QueryEscape(s.password)
	}
	return u
}

func (s *Sentinel) data() []*Server { return append([]*Server{s.Master}, s.Replicas...) }

func (s *Sentinel) servers() []*Server { return slices.Concat(s.data(), s.Sentinels) }

// StartSentinel starts a master and two replicas, with further redis-server arguments for
// each, and three sentinels. It returns when both replicas are in sync and every sentinel
// is connected to them and to the other sentinels. After a master has been gone for a
// second, two sentinels suffice to replace it. Failures and the end are as for [Start].
func StartSentinel(tb testing.TB, args ...string) *Sentinel {
	tb.Helper()
	s, err := startSentinel(1000, args)
	if err != nil {
		tb.Fatal(err)
	}
	for _, server := range s.servers() {
		server.attach(tb)
	}
	return s
}

func startSentinel(downAfter int, args []string) (_ *Sentinel, err error) {
	s := &Sentinel{MasterName: sentinelMaster, password: passwordOf(args), downAfter: downAfter}
	var started []*Server
	defer func() {
		if err != nil {
			err = fmt.Errorf("redistest: sentinel: %w%s", err, logsOnFailure(started))
			closeAll(started)
		}
	}()

	// After a failover the old master is a replica, so all have the password.
	args = append([]string{"--masterauth", s.password}, args...)
	started, err = startMany(1+sentinelReplicas, func(int) (*Server, error) {
		return startServer(Config{Args: args})
	})
	if err != nil {
		return nil, err
	}
	s.Master, s.Replicas = started[0], started[1:]
	for _, replica := range s.Replicas {
		if _, err = replica.do("REPLICAOF", loopback, strconv.Itoa(s.Master.port)); err != nil {
			return nil, err
		}
	}
	// A sentinel reads a server's state as it meets it, and then not again for seconds: the
	// first state that it sees must be the final one.
	for _, replica := range s.Replicas {
		if err = poll(readyTimeout, replica.inSync); err != nil {
			return nil, err
		}
	}
	if err = poll(readyTimeout, s.replicasOnline); err != nil {
		return nil, err
	}

	s.Sentinels, err = startMany(sentinelCount, s.startSentinel)
	if err != nil {
		return nil, err
	}
	started = s.servers()
	if err = s.introduce(); err != nil {
		return nil, err
	}
	if err = poll(readyTimeout, s.ready); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Sentinel) startSentinel(int) (*Server, error) {
	return launch(spec{args: func(dir string, port int) ([]string, error) {
		lines := []string{
			fmt.Sprintf("port %d", port),
			"bind " + loopback,
			"protected-mode no",
			fmt.Sprintf("dir %q", dir),
			fmt.Sprintf("sentinel monitor %s %s %d 2", s.MasterName, loopback, s.Master.port),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", s.MasterName, s.downAfter),
			fmt.Sprintf("sentinel failover-timeout %s 5000", s.MasterName),
		}
		if s.password != "" {
			lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %q", s.MasterName, s.password))
		}
		// A sentinel keeps its state in this file, so a restart has it too.
		conf := filepath.Join(dir, "sentinel.conf")
		err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
		return []string{conf, "--sentinel"}, err
	}})
}

// introduce tells each sentinel of the others, with the message that they would publish
// through the master some seconds later.
func (s *Sentinel) introduce() error {
	for _, from := range s.Sentinels {
		id, err := from.text("SENTINEL", "MYID")
		if err != nil {
			return err
		}
		hello := fmt.Sprintf("%s,%d,%s,0,%s,%s,%d,0",
			loopback, from.port, id, s.MasterName, loopback, s.Master.port)
		for _, to := range s.Sentinels {
			if to == from {
				continue
			}
			if _, err := to.do("PUBLISH", "__sentinel__:hello", hello); err != nil {
				return err
			}
		}
	}
	return nil
}

// replicasOnline returns nil if the master counts all replicas as in sync. Until then the
// master omits them when it answers the sentinels.
func (s *Sentinel) replicasOnline() error {
	info, err := s.Master.info("replication")
	if err != nil {
		return err
	}
	for i := range s.Replicas {
		if slave := info[fmt.Sprintf("slave%d", i)]; !strings.Contains(slave, "state=online") {
			return fmt.Errorf("slave%d of the master is %q, not online", i, slave)
		}
	}
	return nil
}

// ready returns nil if each sentinel could lead a failover now.
func (s *Sentinel) ready() error {
	for _, sentinel := range s.Sentinels {
		// A replica can be promoted only after the sentinel has read its state.
		if err := s.knows(sentinel, "REPLICAS", len(s.Replicas), "master-link-status", "ok"); err != nil {
			return err
		}
		if err := s.knows(sentinel, "SENTINELS", len(s.Sentinels)-1, "flags", "sentinel"); err != nil {
			return err
		}
	}
	return nil
}

// knows returns nil if the sentinel lists that many peers of a kind, all of them reachable
// and with this value in this field.
func (s *Sentinel) knows(sentinel *Server, kind string, count int, field, want string) error {
	reply, err := sentinel.do("SENTINEL", kind, s.MasterName)
	if err != nil {
		return err
	}
	list, _ := reply.([]any)
	if len(list) != count {
		return fmt.Errorf("sentinel %s knows %d %s, not %d", sentinel.Addr(), len(list), kind, count)
	}
	for _, entry := range list {
		peer := pairs(entry)
		if strings.Contains(peer["flags"], "down") || strings.Contains(peer["flags"], "disconnected") || peer[field] != want {
			return fmt.Errorf("sentinel %s: %s %s: flags %q, %s %q",
				sentinel.Addr(), kind, peer["name"], peer["flags"], field, peer[field])
		}
	}
	return nil
}

// pairs makes a map of a reply that alternates names and values.
func pairs(reply any) map[string]string {
	list, _ := reply.([]any)
	m := make(map[string]string, len(list)/2)
	for pair := range slices.Chunk(list, 2) {
		if len(pair) == 2 {
			m[fmt.Sprint(pair[0])] = fmt.Sprint(pair[1])
		}
	}
	return m
}
