package sqlitestore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// The tests run this binary again, as a process that has the file open too. It ends with
// its standard input, so it ends with the tests at the latest.
const (
	jobVariable  = "SQLITESTORE_TEST_JOB"
	pathVariable = "SQLITESTORE_TEST_PATH"
)

// large makes the tests run at the size of the figures in the documentation, in place of
// less than a minute.
var large = os.Getenv("SQLITESTORE_LARGE") != ""

var jobs = map[string]func(path string) error{
	"create": createWithoutPause,
	"open":   openAndWait,
}

func TestMain(m *testing.M) {
	job, ok := jobs[os.Getenv(jobVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := job(os.Getenv(pathVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// createWithoutPause creates records, one after the other, from the first byte of standard
// input to its end. It prints the task of each that was acknowledged and the time that it
// took.
func createWithoutPause(path string) error {
	b, err := sqlitestore.Open(context.Background(), path, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Println("ready")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	for i := 0; ctx.Err() == nil; i++ {
		key := taskstore.Key{Owner: fmt.Sprint("owner-", os.Getpid()), Task: fmt.Sprint(i)}
		start := time.Now()
		if _, err := b.PutIfVersion(context.Background(), key, taskstore.Value{Data: make([]byte, 1024)}, 0); err != nil {
			return err
		}
		fmt.Println(i, int64(time.Since(start)))
	}
	return nil
}

// openAndWait has the file open until standard input ends.
func openAndWait(path string) error {
	b, err := sqlitestore.Open(context.Background(), path, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// A process is one that does a job.
type process struct {
	*exec.Cmd
	input io.WriteCloser
	lines *bufio.Scanner

	mu   sync.Mutex
	acks []time.Duration // the times of acknowledged creates; their tasks count from 0
	read sync.WaitGroup
}

func startProcess(tb testing.TB, job, path string) *process {
	tb.Helper()
	exe, err := os.Executable()
	require.NoError(tb, err)
	p := &process{Cmd: exec.Command(exe)}
	p.Env = append(os.Environ(), jobVariable+"="+job, pathVariable+"="+path)
	p.Stderr = os.Stderr
	p.input, err = p.StdinPipe()
	require.NoError(tb, err)
	output, err := p.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, p.Start())
	tb.Cleanup(func() {
		_ = p.Process.Kill()
		p.read.Wait()
		_ = p.Wait()
	})
	p.lines = bufio.NewScanner(output)
	require.True(tb, p.lines.Scan(), "the process is ready")
	return p
}

// begin has the process begin, and records the creates that it acknowledges.
func (p *process) begin(tb testing.TB) {
	_, err := p.input.Write([]byte{'\n'})
	require.NoError(tb, err)
	p.read.Go(func() {
		for p.lines.Scan() {
			var task int
			var took int64
			if n, _ := fmt.Sscan(p.lines.Text(), &task, &took); n != 2 {
				return // killed in the middle of a line
			}
			p.mu.Lock()
			p.acks = append(p.acks, time.Duration(took))
			p.mu.Unlock()
		}
	})
}

func (p *process) acknowledged() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acks[:len(p.acks):len(p.acks)]
}

// owner is the owner of the records that the process creates.
func (p *process) owner() string { return "owner-" + strconv.Itoa(p.Process.Pid) }
