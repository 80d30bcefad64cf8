package redistest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskstore/taskstore/internal/testproc"
)

const (
	clusterMasters = 3
	clusterSlots   = 16384
	readyTimeout   = 30 * time.Second
)

// Cluster is a Redis cluster of local processes. The fields give the role with which each
// process started; a failover does not change the fields. Replicas[i] started as the
// replica of Masters[i].
type Cluster struct {
	Masters, Replicas []*Server
}

// Addrs returns the addresses of all nodes, the masters first.
func (c *Cluster) Addrs() []string { return addrsOf(c.nodes()...) }

// URL returns redis://h1:p1?addr=h2:p2&addr=h3:p3 with all nodes, the masters
// first, and with the password if the cluster was started with one.
func (c *Cluster) URL() string { return seedURL(c.Addrs(), c.Masters[0].password) }

func (c *Cluster) nodes() []*Server { return slices.Concat(c.Masters, c.Replicas) }

// StartCluster starts three masters and three replicas, with further redis-server arguments
// for each, and returns when every node sees the whole cluster as sound and every replica
// is in sync. After a master has been gone for a second, its replica takes over. Failures
// and the end are as for [Start].
func StartCluster(tb testing.TB, args ...string) *Cluster {
	tb.Helper()
	c, err := startCluster(args)
	if err != nil {
		tb.Fatal(err)
	}
	for _, s := range c.nodes() {
		s.attach(tb)
	}
	return c
}

// StartClusterOfOne starts a cluster whose only node serves all slots, with
// further redis-server arguments, and returns when its state is ok. Failures and
// the end are as for [Start].
func StartClusterOfOne(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s, err := startClusterOfOne(args)
	if err != nil {
		tb.Fatal(err)
	}
	s.attach(tb)
	return s
}

func startClusterOfOne(args []string) (*Server, error) {
	s, err := startClusterNode(args)
	if err != nil {
		return nil, err
	}
	if err = s.addSlots(0, clusterSlots-1); err == nil {
		err = poll(readyTimeout, func() error { return s.clusterSound(1, 1) })
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("redistest: cluster of one: %w\n%s", err, s.logOnFailure())
	}
	return s, nil
}

func startCluster(args []string) (*Cluster, error) {
	nodes, err := startMany(2*clusterMasters, func(int) (*Server, error) { return startClusterNode(args) })
	if err != nil {
		return nil, err
	}
	c := &Cluster{Masters: nodes[:clusterMasters:clusterMasters], Replicas: nodes[clusterMasters:]}
	if err := c.join(); err != nil {
		err = fmt.Errorf("redistest: cluster: %w%s", err, logsOnFailure(nodes))
		closeAll(nodes)
		return nil, err
	}
	return c, nil
}

func startClusterNode(args []string) (*Server, error) {
	version, err := ServerVersion()
	if err != nil {
		return nil, err
	}
	port, busArgs := testproc.FreePort, freeBusPort
	if !version.AtLeast(7, 0) {
		port, busArgs = freeNodePort, func() ([]string, error) { return nil, nil }
	}
	password := passwordOf(args)
	return launch(spec{
		password: password,
		port:     port,
		args: func(dir string, port int) ([]string, error) {
			bus, err := busArgs()
			if err != nil {
				return nil, err
			}
			return serverArgs(dir, port, bus, []string{
				"--cluster-enabled", "yes",
				"--cluster-node-timeout", "1000",
				// A node that has not met another one would announce no address.
				"--cluster-announce-ip", loopback,
				"--masterauth", password,
			}, args), nil
		},
	})
}

// join makes one cluster of the nodes and waits until all of them agree.
func (c *Cluster) join() error {
	nodes := c.nodes()
	ids := make([]string, len(nodes))
	for i, s := range nodes {
		id, err := s.text("CLUSTER", "MYID")
		if err != nil {
			return err
		}
		ids[i] = id
		// Masters with distinct epochs have no conflict to resolve; resolving one would
		// cost a round of the cluster's clock each.
		if _, err := s.do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return err
		}
	}
	for i, s := range c.Masters {
		first, last := slotRange(i)
		if err := s.addSlots(first, last); err != nil {
			return err
		}
	}
	// Every node meets every other, because gossip alone takes longer.
	for i, s := range nodes {
		for _, peer := range nodes[i+1:] {
			if _, err := s.do("CLUSTER", "MEET", loopback, strconv.Itoa(peer.port), peer.busPort()); err != nil {
				return err
			}
		}
	}
	for i, s := range c.Replicas {
		// A replica refuses a master that it has not met yet.
		if err := poll(readyTimeout, func() error {
			_, err := s.do("CLUSTER", "REPLICATE", ids[i])
			return err
		}); err != nil {
			return err
		}
	}
	return poll(readyTimeout, c.ready)
}

// freeBusPort returns the arguments for the port on which the nodes of a cluster
// speak to each other. The default, port+10000, may be in use.
func freeBusPort() (args []string, err error) {
	bus, err := testproc.FreePort()
	return []string{"--cluster-port", strconv.Itoa(bus), "--cluster-announce-bus-port", strconv.Itoa(bus)}, err
}

// addSlots gives the node slots. ADDSLOTSRANGE came with Redis 7.0.
func (s *Server) addSlots(first, last int) error {
	args := []string{"CLUSTER", "ADDSLOTS"}
	for slot := first; slot <= last; slot++ {
		args = append(args, strconv.Itoa(slot))
	}
	_, err := s.do(args...)
	return err
}

// slotRange returns the slots of the i-th master.
func slotRange(i int) (first, last int) {
	return i * clusterSlots / clusterMasters, (i+1)*clusterSlots/clusterMasters - 1
}

func (s *Server) busPort() string {
	if i := slices.Index(s.args, "--cluster-port"); i >= 0 {
		return s.args[i+1]
	}
	return strconv.Itoa(s.port + busOffset)
}

func (c *Cluster) ready() error {
	for _, s := range c.nodes() {
		if err := s.clusterSound(len(c.Masters)+len(c.Replicas), len(c.Masters)); err != nil {
			return err
		}
	}
	for _, s := range c.Replicas {
		if err := s.inSync(); err != nil {
			return err
		}
	}
	return nil
}

// clusterSound returns nil if the node reports a sound cluster and knows all nodes, with
// that many masters, as reachable.
func (s *Server) clusterSound(nodes, masters int) error {
	str, err := s.text("CLUSTER", "INFO")
	if err != nil {
		return err
	}
	info := fields(str)
	for name, want := range map[string]string{
		"cluster_state":       "ok",
		"cluster_slots_ok":    strconv.Itoa(clusterSlots),
		"cluster_known_nodes": strconv.Itoa(nodes),
		"cluster_size":        strconv.Itoa(masters),
	} {
		if info[name] != want {
			return fmt.Errorf("%s: %s is %s, not %s", s.Addr(), name, info[name], want)
		}
	}
	table, err := s.text("CLUSTER", "NODES")
	if err != nil {
		return err
	}
	replicas := 0
	for line := range strings.Lines(table) {
		// id address flags master ping-sent pong-received epoch link slots
		columns := strings.Fields(line)
		if len(columns) < 8 || columns[7] != "connected" ||
			strings.Contains(columns[2], "fail") || strings.Contains(columns[2], "handshake") {
			return fmt.Errorf("%s: not a sound node: %s", s.Addr(), line)
		}
		if strings.Contains(columns[2], "slave") {
			replicas++
		}
	}
	if replicas != nodes-masters {
		return fmt.Errorf("%s: %d replicas, not %d", s.Addr(), replicas, nodes-masters)
	}
	return nil
}

// inSync returns nil if the server is a replica that follows its master.
func (s *Server) inSync() error {
	info, err := s.info("replication")
	if err != nil {
		return err
	}
	if status := info["master_link_status"]; status != "up" {
		return fmt.Errorf("%s: master_link_status is %q, not up", s.Addr(), status)
	}
	return nil
}

// startMany starts processes in parallel. If one fails, it leaves no process running.
func startMany(n int, start func(i int) (*Server, error)) ([]*Server, error) {
	servers := make([]*Server, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { servers[i], errs[i] = start(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			closeAll(servers)
			return nil, err
		}
	}
	return servers, nil
}

func logsOnFailure(servers []*Server) string {
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("\n" + s.logOnFailure())
	}
	return b.String()
}
