package redistest

import (
	"fmt"
	"strconv"
	"testing"
)

// A SlotMove is a slot of a Cluster on its way from one master to another.
type SlotMove struct {
	tb          testing.TB
	nodes       []*Server // told of the end in this order
	slot, newID string
}

// MoveSlot moves the slot of a key, with all keys in it, from one master to another, as
// redis-cli's reshard does.
func (c *Cluster) MoveSlot(tb testing.TB, key string, from, to *Server) {
	tb.Helper()
	c.BeginMove(tb, key, from, to).End()
}

// BeginMove moves all keys in the slot of a key, and leaves the slot open until End: the
// old master answers clients with ASK.
func (c *Cluster) BeginMove(tb testing.TB, key string, from, to *Server) *SlotMove {
	tb.Helper()
	// The new master first: the others must not redirect a client to a node that does not
	// know yet.
	m := &SlotMove{tb: tb, nodes: append([]*Server{to, from}, c.Masters...)}
	if err := m.begin(key, from, to); err != nil {
		tb.Fatalf("redistest: moving a slot: %v", err)
	}
	return m
}

// End gives the slot to the new master, with the keys that arrived meanwhile.
func (m *SlotMove) End() {
	m.tb.Helper()
	err := m.moveKeys()
	for _, node := range m.nodes {
		if err == nil {
			_, err = node.do("CLUSTER", "SETSLOT", m.slot, "NODE", m.newID)
		}
	}
	if err != nil {
		m.tb.Fatalf("redistest: moving a slot: %v", err)
	}
}

func (m *SlotMove) begin(key string, from, to *Server) error {
	slot, err := from.do("CLUSTER", "KEYSLOT", key)
	if err != nil {
		return err
	}
	m.slot = fmt.Sprint(slot)
	oldID, err := from.text("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	if m.newID, err = to.text("CLUSTER", "MYID"); err != nil {
		return err
	}
	if _, err := to.do("CLUSTER", "SETSLOT", m.slot, "IMPORTING", oldID); err != nil {
		return err
	}
	if _, err := from.do("CLUSTER", "SETSLOT", m.slot, "MIGRATING", m.newID); err != nil {
		return err
	}
	return m.moveKeys()
}

func (m *SlotMove) moveKeys() error {
	to, from := m.nodes[0], m.nodes[1]
	for {
		reply, err := from.do("CLUSTER", "GETKEYSINSLOT", m.slot, "100")
		if err != nil {
			return err
		}
		keys, _ := reply.([]any)
		if len(keys) == 0 {
			return nil
		}
		args := []string{"MIGRATE", loopback, strconv.Itoa(to.port), "", "0", "5000"}
		if to.password != "" {
			args = append(args, "AUTH", to.password)
		}
		args = append(args, "KEYS")
		for _, k := range keys {
			args = append(args, fmt.Sprint(k))
		}
		if _, err := from.do(args...); err != nil {
			return err
		}
	}
}
