package redistest

import (
	"fmt"
	"strconv"
	"testing"
)

// MoveSlot moves the slot of a key, with all that is in it, from one master to
// another, as redis-cli's reshard does. While it runs, clients meet ASK and
// TRYAGAIN; once the nodes have agreed, MOVED.
func (c *Cluster) MoveSlot(tb testing.TB, key string, from, to *Server) {
	tb.Helper()
	if err := c.moveSlot(key, from, to); err != nil {
		tb.Fatalf("redistest: moving a slot: %v", err)
	}
}

func (c *Cluster) moveSlot(key string, from, to *Server) error {
	number, err := from.do("CLUSTER", "KEYSLOT", key)
	if err != nil {
		return err
	}
	slot := fmt.Sprint(number)
	fromID, err := from.text("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	toID, err := to.text("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	if _, err := to.do("CLUSTER", "SETSLOT", slot, "IMPORTING", fromID); err != nil {
		return err
	}
	if _, err := from.do("CLUSTER", "SETSLOT", slot, "MIGRATING", toID); err != nil {
		return err
	}
	for {
		reply, err := from.do("CLUSTER", "GETKEYSINSLOT", slot, "100")
		if err != nil {
			return err
		}
		keys, _ := reply.([]any)
		if len(keys) == 0 {
			break
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
	// The new owner first: nobody may be sent to a node that does not know yet.
	for _, node := range append([]*Server{to, from}, c.Masters...) {
		if _, err := node.do("CLUSTER", "SETSLOT", slot, "NODE", toID); err != nil {
			return err
		}
	}
	return nil
}
