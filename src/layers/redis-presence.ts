/** Who is in a group, across processes: each process keeps one sorted set of its memberships, which dies soon after it. */
import type { RedisBase } from './redis-base.ts'
import type { RedisLink } from './redis-link.ts'
import { countScript, evalArgs } from './redis-scripts.ts'
import { Trouble } from './trouble.ts'

export interface PresenceParts {
  readonly base: RedisBase
  /** Milliseconds without a sign of life after which a process is dead. */
  readonly timeout: number
  /** Every membership of this process. */
  readonly memberships: () => Iterable<readonly [group: string, channel: string]>
  /** Called with each sign of life. */
  readonly onBeat: () => void
}

/** Members that one command names. */
const chunk = 1000

/** How long the name of a process that is gone may stand in the list of processes. */
const forgetAfter = 3600_000

export class Presence {
  readonly #parts: PresenceParts
  readonly #trouble: Trouble
  /** `GROUP CHANNEL` to whether it is a member, since the last write. */
  readonly #changes = new Map<string, boolean>()
  #written: Promise<void> | undefined
  #registered = false
  /** Something could not be written. */
  #stale = false
  #beating: NodeJS.Timeout | undefined

  constructor(parts: PresenceParts) {
    this.#parts = parts
    this.#trouble = new Trouble(parts.base.log, 'knowing who is in which group')
  }

  /** Resolves when others can see it; at once while Redis is away. All changes of one turn are one write. */
  change(group: string, channel: string, member: boolean): Promise<void> {
    this.#changes.set(`${group} ${channel}`, member)
    // Only a process that has members gives signs of life: one that has none costs Redis nothing.
    if (member) this.#beating ??= setInterval(() => void this.#beat(), this.#parts.timeout / 3).unref()
    this.#written ??= new Promise((resolve) => setImmediate(resolve)).then(() => this.#write())
    return this.#written
  }

  /** The members of a group in all other processes; a named channel as often as there are processes that added it. */
  async members(group: string): Promise<readonly string[]> {
    // All members have the same score, so they stand in the order of their bytes; `!` is the one after the space.
    const lists = await this.#ask((key) => ['ZRANGEBYLEX', key, `[${group} `, `(${group}!`])
    return channelsOf(group, lists.flat() as readonly string[])
  }

  /** How many channels of all other processes are in a group, and which named ones they added. */
  async count(group: string): Promise<{ readonly channels: number; readonly named: readonly string[] }> {
    const answers = await this.#ask((key, process) => evalArgs(countScript, [key], [group, process]))
    const counts = answers as readonly (readonly [channels: number, named: readonly string[]])[]
    return {
      channels: counts.reduce((sum, [channels]) => sum + channels, 0),
      named: channelsOf(
        group,
        counts.flatMap(([, named]) => named),
      ),
    }
  }

  /** Redis is there, perhaps without what it knew: everything is written again. */
  async restore(): Promise<void> {
    const { link, process, names } = this.#parts.base
    if (!link || (!this.#registered && isEmpty(this.#parts.memberships()))) return
    this.#stale = false
    this.#registered = false
    try {
      // Who left while Redis was away is still in it.
      await link.command(names.members(process), ['DEL', names.members(process)])
    } catch (error) {
      this.#failed(error)
      return
    }
    for (const [group, channel] of this.#parts.memberships()) this.#changes.set(`${group} ${channel}`, true)
    await this.#write()
  }

  async close(): Promise<void> {
    clearInterval(this.#beating)
    this.#changes.clear()
    const { link, process, names } = this.#parts.base
    if (!link || !this.#registered) return
    await Promise.allSettled([
      link.command(names.members(process), ['DEL', names.members(process)]),
      link.command(names.processes, ['ZREM', names.processes, process]),
    ])
  }

  /** Asks for what is known of each other process. */
  async #ask(commandOf: (key: string, process: string) => readonly string[]): Promise<readonly unknown[]> {
    const { link, process, names } = this.#parts.base
    if (!link) return []
    try {
      const processes = (await link.command(names.processes, [
        'ZRANGE',
        names.processes,
        '0',
        '-1',
      ])) as readonly string[]
      const others = processes.filter((other) => other !== process)
      return await Promise.all(
        others.map((other) => link.command(names.members(other), commandOf(names.members(other), other))),
      )
    } catch (error) {
      this.#failed(error)
      return []
    }
  }

  async #write(): Promise<void> {
    this.#written = undefined
    const { link } = this.#parts.base
    const changes = [...this.#changes]
    this.#changes.clear()
    // While Redis is away nothing is kept: `restore` writes what there is then.
    if (!link) return
    try {
      await this.#writeChanges(link, changes)
    } catch (error) {
      this.#failed(error)
    }
  }

  async #writeChanges(link: RedisLink, changes: readonly (readonly [string, boolean])[]): Promise<void> {
    const { process, names } = this.#parts.base
    const key = names.members(process)
    const come = changes.filter(([, member]) => member).map(([name]) => name)
    const gone = changes.filter(([, member]) => !member).map(([name]) => name)
    const commands: Promise<unknown>[] = []
    for (let from = 0; from < come.length; from += chunk) {
      const some = come.slice(from, from + chunk)
      commands.push(link.command(key, ['ZADD', key, ...some.flatMap((name) => ['0', name])]))
    }
    for (let from = 0; from < gone.length; from += chunk) {
      commands.push(link.command(key, ['ZREM', key, ...gone.slice(from, from + chunk)]))
    }
    if (come.length > 0) commands.push(...this.#signOfLife(link))
    await Promise.all(commands)
  }

  #signOfLife(link: RedisLink): readonly Promise<unknown>[] {
    const { timeout } = this.#parts
    const { process, names } = this.#parts.base
    const key = names.members(process)
    const commands = [link.command(key, ['PEXPIRE', key, String(timeout)])]
    if (!this.#registered) {
      this.#registered = true
      commands.push(link.command(names.processes, ['ZADD', names.processes, String(Date.now()), process]))
    }
    return commands
  }

  async #beat(): Promise<void> {
    this.#parts.onBeat()
    const { link, process, names } = this.#parts.base
    if (!link) return
    try {
      if (isEmpty(this.#parts.memberships())) {
        clearInterval(this.#beating)
        this.#beating = undefined
        this.#registered = false
        await link.command(names.processes, ['ZREM', names.processes, process])
        return
      }
      const now = Date.now()
      const [alive] = await Promise.all([
        ...this.#signOfLife(link),
        link.command(names.processes, ['ZADD', names.processes, String(now), process]),
        link.command(names.processes, ['ZREMRANGEBYSCORE', names.processes, '-inf', String(now - forgetAfter)]),
      ])
      // 0: this process was silent for too long, and the others took it for dead.
      if (alive === 0 || this.#stale) await this.restore()
      if (!this.#stale) this.#trouble.over()
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    this.#stale = true
    if (this.#parts.base.link) this.#trouble.failed(error)
  }
}

/** Of memberships, as they are written. */
function channelsOf(group: string, memberships: readonly string[]): readonly string[] {
  return memberships.map((membership) => membership.slice(group.length + 1))
}

function isEmpty(items: Iterable<unknown>): boolean {
  for (const _ of items) return false
  return true
}
