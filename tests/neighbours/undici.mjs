// undici behind the lines of JSON of calling.py: "undici" is RetryAgent, "undici-plain" is Agent alone.
// UNDICI names a folder, with a slash at its end, beside whose node_modules undici is installed.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(process.env.UNDICI)
const { Agent, RetryAgent, request } = require('undici')
const [ca, cert, key] = process.argv.slice(2).map((path) => readFileSync(path))
let dispatcher

const tasks = {
  begin ({ peer }) {
    const agent = new Agent({ connect: { ca, cert, key } })
    dispatcher = peer === 'undici-plain' ? agent : new RetryAgent(agent)
    return { undici: require('undici/package.json').version, 'Node.js': process.versions.node }
  },
  async call ({ method, url, headers }) {
    try {
      const { statusCode, body } = await request(url, { method, headers, dispatcher })
      return { status: statusCode, size: (await body.arrayBuffer()).byteLength }
    } catch (error) {
      return { error: error.code ?? error.name, says: String(error) }
    }
  },
  burst ({ count, ...asked }) {
    return Promise.all(Array.from({ length: count }, () => tasks.call(asked)))
  },
  // Not counted.
  contexts () {
    return 0
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: task, ...asked } = JSON.parse(line)
  console.log(JSON.stringify(await tasks[task](asked)))
}
process.exit(0)
