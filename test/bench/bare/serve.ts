/** What every bare server does: says where it listens, and ends when it is told to. */
import type { AddressInfo, Server } from 'node:net'

export function serve(server: Server, ...schemes: readonly string[]): void {
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo // a TCP server that listens
    for (const scheme of schemes) process.stdout.write(`${scheme}://127.0.0.1:${port}\n`)
    process.stdout.write('serving\n')
  })
  process.once('SIGTERM', () => process.exit(0))
}
