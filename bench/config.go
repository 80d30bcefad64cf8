package main

import "time"

// A Config says how much is measured: all durations and sizes on which the time of a run
// depends.
type Config struct {
	Name          string
	Rounds        int           // turns of each contestant that is measured by calls
	SlowRounds    int           // the same for work that takes seconds
	Turns         int           // of each contestant that is measured by time
	Slice         time.Duration // the length of such a turn
	Calls         int           // in a turn that is measured by calls
	Sizes         []int         // bytes of data
	Callers       []int         // on servers
	StoreCallers  []int         // on the stores side by side
	MemoryCallers []int
	StackCallers  []int
	Lists         []int // tasks of an owner
	Quotas        []int // tasks of an owner that a create counts
	GrowthTasks   []int // of one owner
	GrowthOwners  []int
	PerOwner      int           // tasks of each of those
	Owned         int           // tasks whose bytes are measured
	WatchFor      time.Duration // a turn of the watch
}

var (
	full = Config{
		Name: "full", Rounds: 5, SlowRounds: 3, Turns: 11, Slice: 60 * time.Millisecond, Calls: 1000,
		Sizes: []int{1 << 10, 64 << 10}, Callers: []int{16, 64, 256}, StoreCallers: []int{1, 16}, MemoryCallers: []int{1, 64}, StackCallers: []int{1, 16, 64},
		Lists: []int{10, 1000, 100_000}, Quotas: []int{10, 10_000},
		GrowthTasks: []int{10, 100, 1000, 10_000, 100_000, 1_000_000}, GrowthOwners: []int{1, 100, 10_000, 100_000}, PerOwner: 10,
		Owned: 20_000, WatchFor: time.Second,
	}
	// quick shows that everything runs.
	quick = Config{
		Name: "quick", Rounds: 1, SlowRounds: 1, Turns: 1, Slice: 5 * time.Millisecond, Calls: 20,
		Sizes: []int{1 << 10}, Callers: []int{16, 64, 256}, StoreCallers: []int{1, 16}, MemoryCallers: []int{1, 64}, StackCallers: []int{1, 16, 64},
		Lists: []int{10, 1000}, Quotas: []int{10, 100},
		GrowthTasks: []int{10, 100}, GrowthOwners: []int{1, 10}, PerOwner: 2,
		Owned: 100, WatchFor: 250 * time.Millisecond,
	}
)

// tomorrow is the expiry of tasks that outlive the run.
func tomorrow() time.Time { return time.Now().AddDate(0, 0, 1).Truncate(time.Millisecond) }

// createCap bounds the tasks that one turn of creating makes.
func createCap(size int) int { return min(50_000, 256<<20/size) }
