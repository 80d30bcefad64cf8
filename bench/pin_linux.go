package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pin gives this process one core, and the servers that it started another, until unpin is
// called. Go then has one P, as in a process that starts on one core.
func pin() (unpin func() error, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, err
	}
	cores := coresOf(all)
	if len(cores) < 2 {
		return nil, errors.New("there is only one core")
	}
	procs := runtime.GOMAXPROCS(1)
	unpin = func() error {
		runtime.GOMAXPROCS(procs)
		return errors.Join(assign(os.Getpid(), all), assignServers(all))
	}
	var client, server unix.CPUSet
	client.Set(cores[0])
	server.Set(cores[1])
	if err := errors.Join(assign(os.Getpid(), client), assignServers(server)); err != nil {
		return nil, errors.Join(err, unpin())
	}
	return unpin, nil
}

func coresOf(set unix.CPUSet) (cores []int) {
	for core := range len(set) * strconv.IntSize {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores
}

// assign gives a process's threads the cores. A second pass catches the threads that started
// during the first; later ones inherit.
func assign(pid int, cores unix.CPUSet) error {
	for range 2 {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil {
			return err
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(filepath.Base(thread))
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(id, &cores); err != nil && !errors.Is(err, unix.ESRCH) { // the thread has ended
				return fmt.Errorf("give thread %d its cores: %w", id, err)
			}
		}
	}
	return nil
}

// assignServers does so for all processes below this one.
func assignServers(cores unix.CPUSet) error {
	below, err := descendants()
	for _, pid := range below {
		err = errors.Join(err, assign(pid, cores))
	}
	return err
}

func descendants() (pids []int, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended
		}
		// The name, in parentheses, may have any character. State and parent follow it.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	pids = slices.Clone(children[os.Getpid()])
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids, nil
}
