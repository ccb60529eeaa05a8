// The first sync of hypercore 11 over TCP on loopback: `node hypercore.cjs DIR FILE` fills a core with the lines of
// FILE, serves it from one process, downloads it in another, and prints rate, wire bytes and peak memory as JSON.
// hypercore acknowledges before it syncs to disk. Found by NODE_PATH.
const Hypercore = require('hypercore'), net = require('net'), fs = require('fs'), { spawn } = require('child_process')

const peak = () => +/VmHWM:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1] * 1024
const loopback = () => +fs.readFileSync('/proc/net/dev', 'utf8').split('lo:')[1].trim().split(/\s+/)[0]
const say = value => process.stdout.write(JSON.stringify(value) + '\n')

function link (core, socket, isDialer) {
  const stream = core.replicate(isDialer)
  socket.pipe(stream).pipe(socket)
  socket.on('error', () => {})
  stream.on('error', () => {})
}

async function serve (dir) {
  const core = new Hypercore(dir)
  await core.ready()
  const server = net.createServer(socket => link(core, socket, false))
  server.listen(0, '127.0.0.1', () => say({ key: core.key.toString('hex'), port: server.address().port }))
  process.stdin.on('data', () => { say({ peak: peak() }); process.exit(0) })
}

async function pull (dir, key, port, count) {
  const core = new Hypercore(dir, Buffer.from(key, 'hex'))
  await core.ready()
  const before = loopback(), start = process.hrtime.bigint()
  link(core, net.connect(port, '127.0.0.1'), true)
  core.download({ start: 0, end: -1 })
  while (core.contiguousLength < count) await new Promise(resolve => setTimeout(resolve, 1))
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  await core.close()
  say({ seconds, bytes: loopback() - before, peak: peak() })
  process.exit(0)
}

function child (...args) {
  const process_ = spawn(process.execPath, [__filename, ...args.map(String)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = require('readline').createInterface({ input: process_.stdout })[Symbol.asyncIterator]()
  return { next: async () => JSON.parse((await lines.next()).value), ask: () => process_.stdin.write('\n') }
}

async function main (dir, file) {
  const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n').map(line => Buffer.from(line))
  const core = new Hypercore(dir + '/source')
  await core.ready()
  for (let at = 0; at < lines.length; at += 1000) await core.append(lines.slice(at, at + 1000))
  await core.close()
  const server = child('serve', dir + '/source')
  const { key, port } = await server.next()
  const pulled = await child('pull', dir + '/copy', key, port, lines.length).next()
  server.ask()
  say({ rate: lines.length / pulled.seconds, bytes: pulled.bytes / lines.length, peaks: [(await server.next()).peak, pulled.peak] })
}

const [role, ...args] = process.argv.slice(2)
if (role === 'serve') serve(...args)
else if (role === 'pull') pull(args[0], args[1], +args[2], +args[3])
else main(role, args[0])
