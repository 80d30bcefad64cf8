package taskstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/taskstore/taskstore/internal/redislink"
)

// inspectSlots finds slots of a Cluster's node that are open: their move to or from
// it was begun and has not ended. A move that was interrupted stays so for ever.
func (n *checkedNode) inspectSlots(ctx context.Context) error {
	if n.Addr == "" || n.Replica {
		return nil
	}
	text, err := n.Nodes(ctx)
	if redislink.Refused(err) {
		n.unknown("CLUSTER NODES is refused", "whether a slot is being moved is not known", "grant +cluster|nodes")
		return nil
	}
	if redislink.Said(err, "ERR This instance has cluster support") { // disabled: its Sentinels are taken for a Cluster
		return nil
	}
	if err != nil {
		return err
	}
	if slots := openSlots(text); len(slots) > 0 {
		n.add("the move of slots has not ended: "+summary(slots),
			"while keys are moved one by one, creates and deletes of the owners in them wait, and fail after about 20 seconds; updates go on",
			"let the move end, or end one that was interrupted with redis-cli --cluster fix; Valkey 9 moves slots as a whole with CLUSTER MIGRATESLOTS")
	}
	return nil
}

// openSlots returns the open slots of the node that said text, the answer to CLUSTER
// NODES: "[<slot>->-<node>]" is on its way to that node, "[<slot>-<-<node>]" on its
// way from there.
func openSlots(text string) (slots []string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.Contains(fields[2], "myself") {
			continue
		}
		for _, field := range fields[3:] {
			if slot, _, moves := strings.Cut(field, "-"); moves && strings.HasPrefix(slot, "[") {
				slots = append(slots, slot[1:])
			}
		}
	}
	return slots
}

// summary names the first few.
func summary(slots []string) string {
	const most = 5
	if len(slots) <= most {
		return strings.Join(slots, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(slots[:most], ", "), len(slots)-most)
}
