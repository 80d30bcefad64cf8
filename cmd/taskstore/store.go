package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/taskstore/taskstore"
)

// storeAddress returns the URL of the store.
func (a *app) storeAddress() (string, error) {
	switch {
	case a.storeURL != "" && a.storeFile != "":
		return "", usagef("give --store or --store-file, not both")
	case a.storeURL != "":
		if hasPassword(a.storeURL) {
			return "", usagef("--store has a password, which other users of this machine can see in the list of processes; " +
				"put the URL into TASKSTORE_URL, or into a file and name that by --store-file, and change the password")
		}
		return a.storeURL, nil
	case a.storeFile != "":
		return a.readAddress()
	}
	if address := a.getenv("TASKSTORE_URL"); address != "" {
		return address, nil
	}
	return "", usagef("name the store, by --store URL, by TASKSTORE_URL or by --store-file FILE; a URL is like redis://host:6379/0")
}

// readAddress reads the first line of the file.
func (a *app) readAddress() (string, error) {
	in := a.in
	if a.storeFile != "-" {
		f, err := os.Open(a.storeFile)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", usagef("--store-file: the first line is empty; it must be the URL of the store")
	}
	return line, nil
}

// hasPassword reports whether the URL contains a password, before the host or as a
// parameter. An address that is not a URL counts as having one if it contains an @ or a
// name of that kind, unless it is the path of a file.
func hasPassword(address string) bool {
	if _, file := fileOf(address); file {
		return false
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return strings.Contains(address, "@") || namesPassword(address)
	}
	if _, has := u.User.Password(); has {
		return true
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil { // query lacks a part
		return namesPassword(u.RawQuery)
	}
	for name := range query {
		if namesPassword(name) {
			return true
		}
	}
	return strings.Contains(u.Opaque, "@")
}

func namesPassword(text string) bool { return strings.Contains(strings.ToLower(text), "pass") }

// fileOf returns the path of sqlite:PATH and sqlite:///PATH.
func fileOf(address string) (path string, ok bool) {
	scheme, path, _ := strings.Cut(address, ":")
	if !strings.EqualFold(scheme, "sqlite") {
		return "", false
	}
	if strings.HasPrefix(path, "///") {
		path = path[2:]
	}
	return path, true
}

// openStore opens the store that the flags name.
func (a *app) openStore(ctx context.Context) (taskstore.StorageBackend, error) {
	address, err := a.storeAddress()
	if err != nil {
		return nil, err
	}
	return openAddress(ctx, address, a.prefix, nil)
}

// openAddress opens a store; parameters are added to the URL of a PostgreSQL.
func openAddress(ctx context.Context, address, prefix string, parameters url.Values) (taskstore.StorageBackend, error) {
	scheme, _, _ := strings.Cut(address, ":")
	switch strings.ToLower(scheme) {
	case "redis", "rediss", "unix":
		b, err := taskstore.OpenRedis(ctx, address, &taskstore.RedisOptions{Prefix: prefix})
		if err != nil {
			return nil, err // b would make a non-nil interface
		}
		return b, nil
	case "postgres", "postgresql":
		if prefix == "" && len(parameters) == 0 {
			break
		}
		u, err := url.Parse(address)
		if err != nil {
			break // Open reports the error
		}
		query := u.Query()
		if prefix != "" {
			query.Set("schema", prefix)
		}
		for name, values := range parameters {
			query[name] = values
		}
		u.RawQuery = query.Encode()
		address = u.String()
	default:
		if prefix != "" {
			return nil, usagef("--prefix is for Redis and PostgreSQL")
		}
		path, file := fileOf(address)
		if _, err := os.Stat(path); file && errors.Is(err, fs.ErrNotExist) && path != "" {
			return nil, fmt.Errorf("there is no such file: %s; a server creates it", path)
		}
	}
	return taskstore.Open(ctx, address)
}
