package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load asks for a file over and over, and returns how many answers came.
func load(address, file string, period time.Duration, connections int) int64 {
	var answers atomic.Int64
	var clients sync.WaitGroup
	deadline := time.Now().Add(period)
	for range connections {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for time.Now().Before(deadline) {
				if err := ask(address, file, deadline, &answers); err != nil {
					log.Fatal(err)
				}
			}
		}()
	}
	clients.Wait()
	return answers.Load()
}

// ask uses one connection until the deadline, or until the server closes it.
func ask(address, file string, deadline time.Time, answers *atomic.Int64) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 256<<10)
	request := []byte("GET /" + file + " HTTP/1.1\r\nHost: " + address + "\r\n\r\n")
	for time.Now().Before(deadline) {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", file, response.Status)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		answers.Add(1)
		if response.Close {
			return nil
		}
	}
	return nil
}
