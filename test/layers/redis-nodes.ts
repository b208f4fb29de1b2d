/** A real Redis cluster for a test: several servers, each on a free port, that share the slots among them. */
import { RedisServer, freePort, runRedisCli } from './redis-server.ts'
import { until } from './messages.ts'

export class RedisNodes {
  readonly nodes: readonly RedisServer[]

  /** As few as may form a cluster. */
  static async start(): Promise<RedisNodes> {
    const buses = [await freePort(), await freePort(), await freePort()]
    const nodes = await Promise.all(
      buses.map((bus) => RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', String(bus))),
    )
    const cluster = new RedisNodes(nodes)
    try {
      const addresses = nodes.map(({ port }, index) => `127.0.0.1:${port}@${buses[index]}`)
      await runRedisCli('--cluster', 'create', ...addresses, '--cluster-yes')
      await cluster.untilUp()
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  private constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes
  }

  /** Of one of them: the others are found from there. */
  get url(): string {
    return this.first.url
  }

  get first(): RedisServer {
    return this.nodes[0] as RedisServer // there are three
  }

  /** The one that has this key, or that carries messages of this name. */
  async nodeOf(name: string): Promise<RedisServer> {
    const slot = Number(await this.first.cli('CLUSTER', 'KEYSLOT', name))
    for (const line of (await this.first.cli('CLUSTER', 'NODES')).split('\n')) {
      const [, address = '', , , , , , , ...ranges] = line.split(' ')
      const owns = ranges.some((range) => {
        const [from = Number.NaN, to = from] = range.split('-').map(Number)
        return from <= slot && slot <= to
      })
      const node = this.nodes.find(({ port }) => address.startsWith(`127.0.0.1:${port}@`))
      if (owns && node) return node
    }
    throw new Error(`no node has slot ${slot}`)
  }

  /** Gives the slot of a name, in which no key is, to another node. */
  async move(name: string, to: RedisServer): Promise<void> {
    const slot = await to.cli('CLUSTER', 'KEYSLOT', name)
    const id = await to.cli('CLUSTER', 'MYID')
    for (const node of [to, ...this.nodes.filter((node) => node !== to)]) {
      // The new owner first, so that nobody is sent to one that refuses.
      await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', id)
    }
  }

  /** Resolves when every node knows of every slot. */
  async untilUp(): Promise<void> {
    for (const node of this.nodes) {
      await until(async () => (await node.cli('CLUSTER', 'INFO')).includes('cluster_state:ok'))
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }
}
