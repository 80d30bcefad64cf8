//go:build integration

package torture

import (
	"testing"
	"time"

	"github.com/taskstore/taskstore/internal/faultproxy"
)

// A level is the rate of the faults that the clients' scripts meet.
type level struct {
	name string
	faultproxy.Faults
}

var (
	noFaults = level{"NoFaults", faultproxy.Faults{}}
	lost5    = level{"Lost5", faultproxy.Faults{DropReply: 0.05}}
	lost10   = level{"Lost10", faultproxy.Faults{DropReply: 0.1}}
	// A copy that is delayed arrives while the history goes on, or at its end.
	delayed = level{"Delayed", faultproxy.Faults{DropReply: 0.05, Delay: 0.05, Hold: 10 * time.Millisecond}}
)

// promised lists the levels that each class of load has to stand without a broken history.
var promised = []struct {
	class  Class
	levels []level
}{
	{HotKeys, []level{noFaults, lost5, lost10, delayed}},
	{HotKeysWithPut, []level{noFaults}},
	{TaskIDs, []level{noFaults, lost5, lost10, delayed}},
	{Batches, []level{noFaults, lost5, lost10}},
}

func TestLinearizable(t *testing.T) {
	for _, d := range deployments {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			for _, w := range ways {
				for _, p := range promised {
					for _, l := range p.levels {
						t.Run(w.name+p.class.Name+l.name, func(t *testing.T) {
							newCampaign(t, p.class, l, w, open).keepsThePromise(t, either(*historiesFlag, w.some(10), 200))
						})
					}
				}
			}
		})
	}
}
