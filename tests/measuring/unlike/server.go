// A tiny server of the PostgreSQL protocol in Go: a goroutine for each connection, which threads of the runtime take
// over from each other. It answers every statement with one row, by the simple and the extended protocol, and does one
// thing of known size for it.
//
//	server PORT none|cpu|sleep|lock|channel [HTTP_PORT]
//
// cpu: 100 us in priceOrder; sleep: 2 ms in fetchRates; lock: 500 us of CPU under a mutex that bookOrder takes;
// channel: askClerk waits until the one goroutine of runClerk has computed 500 us. HTTP_PORT answers every request with
// a CPU profile of as many seconds as it asks for, as net/http/pprof does, which takes half a minute to compile.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/pprof"
	"sync"
	"time"
)

var work string
var orders sync.Mutex
var clerk = make(chan chan bool)

//go:noinline
func spend(length time.Duration) {
	for start := time.Now(); time.Since(start) < length; {
	}
}

//go:noinline
func priceOrder() { spend(100 * time.Microsecond) }

//go:noinline
func fetchRates() { time.Sleep(2 * time.Millisecond) }

//go:noinline
func bookOrder() {
	orders.Lock()
	spend(500 * time.Microsecond)
	orders.Unlock()
}

//go:noinline
func askClerk() {
	done := make(chan bool)
	clerk <- done
	<-done
}

func runClerk() {
	for done := range clerk {
		spend(500 * time.Microsecond)
		done <- true
	}
}

func execute() {
	switch work {
	case "cpu":
		priceOrder()
	case "sleep":
		fetchRates()
	case "lock":
		bookOrder()
	case "channel":
		askClerk()
	}
}

func put(out *bufio.Writer, kind byte, body string) {
	head := [5]byte{kind}
	binary.BigEndian.PutUint32(head[1:], uint32(len(body)+4))
	out.Write(head[:])
	out.WriteString(body)
}

func describe(out *bufio.Writer) {
	put(out, 'T', "\x00\x01n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00")
}

func answer(out *bufio.Writer) {
	execute()
	put(out, 'D', "\x00\x01\x00\x00\x00\x011")
	put(out, 'C', "SELECT 1\x00")
}

// One message; false where the client goes.
func handle(out *bufio.Writer, kind byte) bool {
	switch kind {
	case 'Q':
		describe(out)
		answer(out)
		put(out, 'Z', "I")
	case 'P':
		put(out, '1', "")
	case 'B':
		put(out, '2', "")
	case 'D':
		put(out, 't', "\x00\x00")
		describe(out)
	case 'E':
		answer(out)
	case 'C':
		put(out, '3', "")
	case 'S':
		put(out, 'Z', "I")
	}
	return kind != 'X'
}

// The first message; requests for encryption are refused.
func begin(in *bufio.Reader, out *bufio.Writer) bool {
	for {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return false
		}
		if code := binary.BigEndian.Uint32(head[4:]); code == 80877103 || code == 80877104 {
			out.WriteByte('N')
			out.Flush()
			continue
		}
		in.Discard(int(binary.BigEndian.Uint32(head[:]) - 8))
		put(out, 'R', "\x00\x00\x00\x00")
		put(out, 'S', "server_version\x0015.0\x00")
		put(out, 'S', "client_encoding\x00UTF8\x00")
		put(out, 'K', "\x00\x00\x00\x01\x00\x00\x00\x01")
		put(out, 'Z', "I")
		return out.Flush() == nil
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	in, out := bufio.NewReader(connection), bufio.NewWriter(connection)
	if !begin(in, out) {
		return
	}
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		in.Discard(int(binary.BigEndian.Uint32(head[1:]) - 4))
		if !handle(out, head[0]) {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

// Answers one request at a time.
func profileItself(port string) {
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		panic(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		request, _ := bufio.NewReader(connection).ReadString('\n')
		var seconds int
		if _, err := fmt.Sscanf(request, "GET /debug/pprof/profile?seconds=%d HTTP/1.1", &seconds); err != nil {
			io.WriteString(connection, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		} else {
			var profile bytes.Buffer
			pprof.StartCPUProfile(&profile)
			time.Sleep(time.Duration(seconds) * time.Second)
			pprof.StopCPUProfile()
			fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", profile.Len())
			connection.Write(profile.Bytes())
		}
		connection.Close()
	}
}

func main() {
	work = os.Args[2]
	go runClerk()
	if len(os.Args) > 3 {
		go profileItself(os.Args[3])
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		panic(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(connection)
	}
}
