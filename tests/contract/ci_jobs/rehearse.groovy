// groovy rehearse.groovy SCENARIOS: runs declarative pipelines with every step stood in for, and prints what came of each.
// SCENARIOS is JSON, by name: `file`, `params`, `codes` (exit code by command, 0 where not named) and `matrix` (standard
// output). So is the answer: `result` and `ran`, or `refused`: what is no section of declarative pipelines where it stands
// (jenkins.io/doc/book/pipeline/syntax), or no step of those that the plugins named in the Jenkinsfile bring.
// It is no Jenkins: the plugins' own checks of their arguments are not here.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper

class Refused extends RuntimeException {
    Refused(String what) { super(what) }
}

class Build {
    static final WORSE = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'NOT_BUILT', 'ABORTED']
    String result = 'SUCCESS'

    void setResult(String other) {
        if (!(other in WORSE)) { throw new Refused("there is no result ${other}") }
        if (WORSE.indexOf(other) > WORSE.indexOf(result)) { this.@result = other }
    }
}

class Steps {
    Map scenario
    Build build
    List ran
    boolean onAgent
    List secrets = []

    def script(Closure body) { Rehearsal.within(body, this) }

    def sh(Map how) {
        if (!onAgent) { throw new Refused("sh without an agent: ${how.script}") }
        def unbound = how.script =~ /\$(\w+)/
        unbound.each { if (!(it[1] in secrets)) { throw new Refused("${it[1]} is not bound: ${how.script}") } }
        ran << how.script
        int code = scenario.codes[how.script] ?: 0
        if (how.returnStatus) { return code }
        if (code) { error("exit code ${code}") }
        if (how.returnStdout) { return JsonOutput.toJson(scenario.matrix) }
    }

    def file(Map how) { how }

    /** The variables of the credentials are in the environment of each command of the block, which `ran` shows. */
    def withCredentials(List bindings, Closure body) {
        secrets += bindings*.variable
        bindings.each { ran << "bound ${it.credentialsId} to ${it.variable}".toString() }
        try {
            Rehearsal.within(body, this)
        } finally {
            secrets -= bindings*.variable
            ran << 'unbound'
        }
    }

    def readJSON(Map how) { new JsonSlurper().parseText(how.text) }
    def checkout(what) { assert what == 'scm' }
    def junit(Map how) { ran << "junit ${how.testResults}".toString() }
    def archiveArtifacts(Map how) { ran << "archive ${how.artifacts}".toString() }
    def error(what) { throw new IllegalStateException(what.toString()) }
    def parallel(Map jobs) { jobs.each { name, job -> Rehearsal.within(job, this) } }

    def node(String label, Closure body) {
        Rehearsal.within(body, new Steps(scenario: scenario, build: build, ran: ran, onAgent: true))
    }

    def catchError(Map how, Closure body) {
        try {
            Rehearsal.within(body, this)
        } catch (IllegalStateException caught) {
            ran << caught.message
            build.result = how.buildResult
        }
    }

    def methodMissing(String name, given) { throw new Refused("there is no step ${name}") }
}

/** One block of the pipeline: what stands in it, by name. */
class Block {
    static final SECTIONS = [
        pipeline: ['agent', 'environment', 'libraries', 'options', 'parameters', 'post', 'stages', 'tools', 'triggers'],
        stages: ['stage'],
        stage: ['agent', 'environment', 'input', 'options', 'parallel', 'post', 'stages', 'steps', 'tools', 'when'],
        when: ['not', 'expression'],
        not: ['expression'],
        agent: ['label'],
        post: ['always', 'changed', 'failure', 'success', 'unstable', 'cleanup'],
        triggers: ['cron'],
        parameters: ['booleanParam'],
        options: ['disableConcurrentBuilds', 'buildDiscarder', 'logRotator', 'timeout'],
    ]
    static final CODE = ['steps', 'always', 'expression']
    String kind
    List inside = []

    def methodMissing(String name, given) {
        if (!(name in SECTIONS[kind])) { throw new Refused("there is no ${name} in ${kind}") }
        def last = given ? given[-1] : null
        inside << [name: name, given: given.toList(),
                   body: last instanceof Closure && !(name in CODE) ? Rehearsal.within(last, new Block(kind: name)) : last]
        this
    }

    def one(String name) { inside.find { it.name == name }?.body }
}

class Rehearsal {
    static Steps current

    static within(Closure body, delegate) {
        body.delegate = delegate
        body.resolveStrategy = Closure.DELEGATE_FIRST
        def before = current
        current = delegate instanceof Steps ? delegate : before
        try {
            def given = body.call()
            return delegate instanceof Block ? delegate : given
        } finally {
            current = before
        }
    }

    static boolean applies(Block condition) {
        condition == null || condition.inside.every { it.name == 'not' ? !applies(it.body) : it.body.call() }
    }

    static run(Block pipeline, Steps steps) {
        ['agent', 'stages'].each { if (pipeline.one(it) == null) { throw new Refused("pipeline has no ${it}") } }
        boolean failed = false
        for (one in pipeline.one('stages').inside) {
            Block stage = one.body
            if (stage.one('steps') == null) { throw new Refused("the stage ${one.given[0]} has no steps") }
            if (failed || !applies(stage.one('when'))) { continue }
            boolean onAgent = pipeline.one('agent') != 'none' || stage.one('agent') != null
            def here = new Steps(scenario: steps.scenario, build: steps.build, ran: steps.ran, onAgent: onAgent)
            try {
                within(stage.one('steps'), here)
            } catch (IllegalStateException caught) {
                steps.ran << caught.message
                steps.build.result = 'FAILURE'
                failed = true
            }
            def always = stage.one('post')?.one('always')
            if (always) { within(always, here) }
        }
    }
}

def rehearse(Map scenario) {
    def build = new Build()
    def steps = new Steps(scenario: scenario, build: build, ran: [])
    def known = [params: scenario.params, currentBuild: build, scm: 'scm', none: 'none', any: 'any']
    def file = new GroovyShell(new Binding(known)).parse(new File(scenario.file))
    file.metaClass.pipeline = { Closure body -> Rehearsal.run(Rehearsal.within(body, new Block(kind: 'pipeline')), steps) }
    // A closure of the file itself calls steps by name, too.
    file.metaClass.methodMissing = { String name, given -> Rehearsal.current.invokeMethod(name, given) }
    try {
        file.run()
        [result: build.result, ran: steps.ran]
    } catch (Refused refused) {
        [refused: refused.message]
    }
}

println JsonOutput.toJson(new JsonSlurper().parseText(args[0]).collectEntries { name, one -> [name, rehearse(one)] })
