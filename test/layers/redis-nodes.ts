/** A real Redis cluster for a test: several servers, each on a free port, that share the slots among them. */
import { RedisServer, freePort, runRedisCli } from './redis-server.ts'
import { until } from './messages.ts'

/** A node that says nothing for so long, in milliseconds, is taken for dead; and a replica gets its copy at once. */
const impatient = ['--cluster-node-timeout', '1000', '--repl-diskless-sync-delay', '0']

export class RedisNodes {
  readonly nodes: readonly RedisServer[]

  /** As few as may form a cluster; with `replicas` each has one that takes its place when it dies. */
  static async start({ replicas = false } = {}): Promise<RedisNodes> {
    const buses: number[] = []
    while (buses.length < (replicas ? 6 : 3)) buses.push(await freePort())
    const options = ['--cluster-enabled', 'yes', ...(replicas ? impatient : [])]
    const nodes = await Promise.all(buses.map((bus) => RedisServer.start(...options, '--cluster-port', String(bus))))
    const cluster = new RedisNodes(nodes)
    try {
      const addresses = nodes.map(({ port }, index) => `127.0.0.1:${port}@${buses[index]}`)
      await runRedisCli(
        '--cluster',
        'create',
        ...addresses,
        '--cluster-yes',
        ...(replicas ? ['--cluster-replicas', '1'] : []),
      )
      await cluster.untilUp()
      await cluster.#untilCopied()
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

  /** Gives the slot of a name to another node, with all keys that are in it. */
  async move(name: string, to: RedisServer): Promise<void> {
    const slot = await to.cli('CLUSTER', 'KEYSLOT', name)
    const id = await to.cli('CLUSTER', 'MYID')
    const from = await this.nodeOf(name)
    await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await from.cli('CLUSTER', 'MYID'))
    await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', id)
    const next = async () => (await from.cli('CLUSTER', 'GETKEYSINSLOT', slot, '1')).trim()
    for (let key = await next(); key !== ''; key = await next())
      await from.cli('MIGRATE', '127.0.0.1', String(to.port), key, '0', '5000')
    for (const node of [to, from, ...this.nodes.filter((node) => node !== to && node !== from)]) {
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

  /** Resolves when every replica has its copy. */
  async #untilCopied(): Promise<void> {
    for (const node of this.nodes) {
      await until(async () => /role:master|master_link_status:up/.test(await node.cli('INFO', 'replication')))
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }
}
