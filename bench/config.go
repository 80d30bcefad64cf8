package main

import "time"

// A Config says how much is measured. All durations and sizes that decide how long
// a run takes are here.
type Config struct {
	Name          string
	Rounds        int           // turns of each contestant, where it is measured by calls
	SlowRounds    int           // the same for work that takes seconds
	Turns         int           // of each contestant that is measured by time
	Slice         time.Duration // how long such a turn is
	Sizes         []int         // bytes of data
	Callers       []int         // on servers
	MemoryCallers []int         // in the process
	Contenders    int           // writers on one task
	Lists         []int         // tasks of an owner
	Quotas        []int         // the same, where a create counts them
	Expiring      int           // tasks that expire at once
	Notice        time.Duration // how long before that they are created
	WatchFor      time.Duration // a turn of the watch
	Owned         int           // tasks whose memory is measured
	Calls         int           // a turn, where it is measured by calls
	GrowthTasks   []int         // of one owner
	GrowthOwners  []int
	PerOwner      int // tasks of each of those
	StackCallers  []int
	Cancels       int // a turn
}

var (
	full = Config{
		Name: "full", Rounds: 5, SlowRounds: 3, Turns: 11, Slice: 60 * time.Millisecond,
		Sizes: []int{1 << 10, 64 << 10}, Callers: []int{1, 16, 64, 256}, MemoryCallers: []int{1, 2, 64},
		Contenders: 16, Lists: []int{10, 1000, 100_000}, Quotas: []int{10, 10_000, 100_000},
		Expiring: 100_000, Notice: 15 * time.Second, WatchFor: 2 * time.Second, Owned: 20_000, Calls: 1000,
		GrowthTasks: []int{10, 100, 1000, 10_000, 100_000, 1_000_000}, GrowthOwners: []int{1, 100, 10_000, 100_000},
		PerOwner: 10, StackCallers: []int{1, 16, 64}, Cancels: 50,
	}
	quick = Config{
		Name: "quick", Rounds: 3, SlowRounds: 1, Turns: 3, Slice: 25 * time.Millisecond,
		Sizes: []int{1 << 10}, Callers: []int{1, 64}, MemoryCallers: []int{1, 2},
		Contenders: 16, Lists: []int{10, 1000}, Quotas: []int{10, 1000},
		Expiring: 5000, Notice: 2 * time.Second, WatchFor: 300 * time.Millisecond, Owned: 1000, Calls: 200,
		GrowthTasks: []int{10, 100, 1000, 10_000}, GrowthOwners: []int{1, 100, 1000},
		PerOwner: 10, StackCallers: []int{1, 16}, Cancels: 10,
	}
)

// tomorrow is when tasks expire that shall not do so here.
func tomorrow() time.Time { return time.Now().AddDate(0, 0, 1).Truncate(time.Millisecond) }

// createCap bounds how many tasks one turn of creating makes.
func createCap(size int) int { return min(50_000, 256<<20/size) }
